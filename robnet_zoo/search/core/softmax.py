"""Searches whose architecture is a softmax of scores, moved by first or second order (DARTS)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.core.architecture import ArchitectureOptimizer
from robnet_zoo.search.core.differentiable import DifferentiableSearch
from robnet_zoo.search.core.recipe import SoftmaxRecipe
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.core.unrolled import (
    Objective,
    ObjectiveGradient,
    VirtualStep,
    Weights,
    first_order_gradient,
    unrolled_gradients,
)
from robnet_zoo.search.run.data import SearchBatch, SearchData

INITIAL_SCALE = 1e-3  # standard deviation of the scores at the start

Recipe = TypeVar("Recipe", bound=SoftmaxRecipe)


class SoftmaxSearch(DifferentiableSearch[Recipe]):
    """A differentiable search whose architecture consists of scores.

    An algorithm gives `draw_scores` and `mixture`, which say what the scores are.

    Attributes:
        architecture: the scores, which `arch_optimizer` moves.
    """

    def __init__(self, recipe: Recipe, data: SearchData) -> None:
        super().__init__(recipe, data)
        drawn = self.draw_scores(keyed_generator(recipe.seed, "architecture"))
        device = data.processes.device
        self.architecture = [scores.to(device).requires_grad_() for scores in drawn]
        self.arch_optimizer = ArchitectureOptimizer(
            self.architecture,
            lr=recipe.architecture_lr,
            betas=recipe.architecture_betas,
            weight_decay=recipe.architecture_decay,
            processes=data.processes,
        )

    @abstractmethod
    def draw_scores(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Return the scores at the start, near 0."""

    @abstractmethod
    def mixture(self, architecture: Sequence[Tensor]) -> dict[str, CellWeights]:
        """Return each role's cell as the supernet takes it, for some scores."""

    def scores(self) -> dict[str, Tensor]:
        """Return what each operation is worth: its weight, times its edge's if edges have any."""
        worth = {}
        for role, cell in self.mixture(self.architecture).items():
            assert isinstance(cell.operations, Tensor)
            edges = cell.edges
            worth[role] = cell.operations if edges is None else cell.operations * edges[:, None]
        return worth

    def classification(self, batch: SearchBatch) -> Objective:
        """Return the cross-entropy of a batch as a function of weights and architecture."""

        def loss(weights: Weights, architecture: Sequence[Tensor]) -> Tensor:
            cells = self.mixture(architecture)
            logits = functional_call(self.supernet, dict(weights), (batch.images, cells))
            return F.cross_entropy(logits, batch.labels)

        return loss

    def gradients(
        self, objectives: Sequence[Objective], training: Objective, lr: float
    ) -> list[ObjectiveGradient]:
        """Return the objectives' values and gradients, of the recipe's order.

        Args:
            objectives: what the architecture descends.
            training: what the weights descend; second order looks one step of it ahead.
            lr: the weights' learning rate.
        """
        weights = dict(self.supernet.named_parameters())
        if self.recipe.order == "first":
            return [
                first_order_gradient(objective, weights, self.architecture)
                for objective in objectives
            ]
        step = self.virtual_step(lr)
        return unrolled_gradients(objectives, training, weights, self.architecture, step)

    def virtual_step(self, lr: float) -> VirtualStep:
        """Return the step that the weights' optimizer would take, clipping left aside."""
        buffers = self.weight_optimizer.momentum_buffers()
        return VirtualStep(lr, self.recipe.momentum, self.recipe.weight_decay, buffers)

    @torch.no_grad()
    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Return how undecided each cell still is: 1 at the start, 0 when all is chosen."""
        most = math.log(len(self.space.operations))
        row = {}
        for role, cell in self.mixture(self.architecture).items():
            assert isinstance(cell.operations, Tensor)
            entropy = torch.special.entr(cell.operations).sum(1).mean()
            row[f"{role}_entropy"] = float(entropy) / most
        return row

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {**super().state(), "architecture": self.arch_optimizer.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        super().load(state)
        self.arch_optimizer.load(state["architecture"])
