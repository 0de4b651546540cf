"""The ARNAS search: three cell types, natural and adversarial loss, one common descent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.arnas.objectives import classification, mixture, scaled, shares, size
from robnet_zoo.search.arnas.recipe import ArnasRecipe
from robnet_zoo.search.core.architecture import ArchitectureOptimizer
from robnet_zoo.search.core.discretise import best_two_edges
from robnet_zoo.search.core.mgda import least_norm_weights
from robnet_zoo.search.core.optimizers import (
    WeightOptimizer,
    craft,
    search_adversary,
    seeded_supernet,
)
from robnet_zoo.search.core.spaces import EDGES
from robnet_zoo.search.core.unrolled import (
    Objective,
    Outcome,
    VirtualStep,
    first_order_gradient,
    unrolled_gradients,
)
from robnet_zoo.search.run.artifacts import searched_source
from robnet_zoo.search.run.data import Batch, SearchData
from robnet_zoo.search.run.loop import StepContext

INITIAL_SCALE = 1e-3  # standard deviation of the architecture's scores at the start


class ArnasSearch:
    """A search by alternating steps: first of the architecture, then of the weights.

    Both batches are attacked through the present supernet. The architecture's step goes along
    the least-norm mixture of its objectives' gradients (MGDA); the weights' step descends the
    cross-entropy of the attacked training batch.

    Attributes:
        supernet: the weights.
        architecture: each role's scores (edges, operations), in the order of the space's roles.
    """

    def __init__(self, recipe: ArnasRecipe, data: SearchData) -> None:
        self.recipe, self.data = recipe, data
        processes = data.processes
        self.supernet = seeded_supernet(recipe.space(), recipe, data)
        space = self.supernet.space
        draws = keyed_generator(recipe.seed, "architecture")
        shape = (len(space.roles), EDGES, len(space.operations))
        scores = INITIAL_SCALE * torch.randn(shape, generator=draws)
        self.architecture = [part.to(processes.device).requires_grad_() for part in scores.unbind()]
        self.learner = WeightOptimizer(self.supernet, recipe, processes)
        self.arch_optimizer = ArchitectureOptimizer(
            self.architecture,
            lr=recipe.architecture_lr,
            betas=recipe.architecture_betas,
            weight_decay=recipe.architecture_decay,
            processes=processes,
        )
        self.adversary = search_adversary(recipe, data.threat)
        self.size = size(self.supernet)

    def step(self, at: StepContext, batch: Batch, held: Batch) -> dict[str, Tensor]:
        """Move the architecture, then the weights; return what is worth logging."""
        attacked, attacked_held = self.attacked(at, batch, held)
        objectives = self.objectives(held, attacked_held)
        outcomes = self.outcomes(list(objectives.values()), attacked, at.lr)
        rows = torch.stack([outcome.gradient for outcome in outcomes])
        losses = torch.stack([outcome.loss for outcome in outcomes])
        self.data.processes.average_([rows, losses])
        mixed = least_norm_weights(rows).to(rows)
        self.arch_optimizer.descend(mixed @ rows)

        cells = mixture(self.supernet.space, self.architecture)
        loss = F.cross_entropy(self.supernet(attacked.images, cells), attacked.labels)
        self.learner.descend(loss, at.lr)
        figures = {"loss": loss.detach()}
        for index, (name, factor) in enumerate(self.factors().items()):
            figures |= {name: losses[index] / factor, f"{name}_share": mixed[index]}
        return figures

    def attacked(self, at: StepContext, *batches: Batch) -> list[Batch]:
        """Return the batches attacked through the present supernet."""
        draws = at.generator(f"noise of process {self.data.processes.rank}")
        cells = mixture(self.supernet.space, self.architecture)
        mode = self.recipe.craft_mode
        return [
            craft(self.supernet, cells, self.adversary, batch, draws, mode=mode)
            for batch in batches
        ]

    def factors(self) -> dict[str, float]:
        """Return what each objective is multiplied by, in the order of the objectives."""
        factors = {"natural": 1.0, "adversarial": self.recipe.adversarial_weight}
        if self.recipe.parameters_weight:
            factors["parameters"] = self.recipe.parameters_weight
        return factors

    def objectives(self, held: Batch, attacked_held: Batch) -> dict[str, Objective]:
        """Return the objectives, each times its factor."""
        plain = {
            "natural": classification(self.supernet, held),
            "adversarial": classification(self.supernet, attacked_held),
            "parameters": self.size,
        }
        return {name: scaled(plain[name], factor) for name, factor in self.factors().items()}

    def outcomes(
        self, objectives: Sequence[Objective], attacked: Batch, lr: float
    ) -> list[Outcome]:
        """Return the objectives' values and gradients, of first or second order."""
        weights = dict(self.supernet.named_parameters())
        if self.recipe.order == "first":
            return [first_order_gradient(one, weights, self.architecture) for one in objectives]
        training = classification(self.supernet, attacked)
        step = self.virtual_step(lr)
        return unrolled_gradients(objectives, training, weights, self.architecture, step)

    def virtual_step(self, lr: float) -> VirtualStep:
        """Return the step that the weights' optimizer would take, clipping left aside."""
        state = self.learner.optimizer.state
        buffers = {
            name: state[weight]["momentum_buffer"]
            for name, weight in self.supernet.named_parameters()
            if state.get(weight, {}).get("momentum_buffer") is not None
        }
        return VirtualStep(lr, self.recipe.momentum, self.recipe.weight_decay, buffers)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Return how undecided the cell types still are: 1 at the start, 0 when all is chosen."""
        space = self.supernet.space
        return {
            f"{role}_entropy": float(torch.special.entr(share).sum(1).mean().detach())
            / math.log(len(space.operations))
            for role, share in shares(space, self.architecture).items()
        }

    def genotype(self, name: str) -> CellGenotype:
        """Return what the scores say now: every operation may be chosen, on two edges a node.

        A cell type without a place in the space takes the other one's cell, so that any searched
        placement gives a complete genotype.
        """
        space = self.supernet.space
        cells = {
            role: best_two_edges(share, space.operations, exclude=())
            for role, share in shares(space, self.architecture).items()
        }
        for role, other in (("accurate", "robust"), ("robust", "accurate")):
            if role not in cells:
                cells[role] = cells[other]
        return CellGenotype(name, "searched here", searched_source("arnas", self.recipe), cells)

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {**self.learner.state(), "architecture": self.arch_optimizer.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.learner.load(state)
        self.arch_optimizer.load(state["architecture"])
