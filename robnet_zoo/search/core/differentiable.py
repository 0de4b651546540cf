"""What the differentiable searches share: weights and architecture that move in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.data import to_float
from robnet_zoo.genotypes import Cell, CellGenotype
from robnet_zoo.search.core.discretise import best_two_edges, leads
from robnet_zoo.search.core.optimizers import (
    WeightOptimizer,
    WeightTraining,
    craft,
    search_adversary,
    seeded_supernet,
)
from robnet_zoo.search.core.recipe import DifferentiableRecipe
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.run.artifacts import searched_source
from robnet_zoo.search.run.data import SearchBatch, SearchData
from robnet_zoo.search.run.loop import StepContext

Recipe = TypeVar("Recipe", bound=DifferentiableRecipe)


class DifferentiableSearch(WeightTraining, ABC, Generic[Recipe]):
    """A search whose architecture learns by gradients while a supernet's weights are trained.

    An algorithm gives `step`, which moves both, and `scores`, which decides in the end. One with
    a state of its own extends `state` and `load`.

    Attributes:
        algorithm: its name in genotypes and records.
        recipe: its settings.
        data: its images.
        supernet: the weights, which `weight_optimizer` trains.
        adversary: crafts images; None where the recipe searches on clean ones.
    """

    algorithm: ClassVar[str]

    def __init__(self, recipe: Recipe, data: SearchData) -> None:
        self.recipe, self.data = recipe, data
        self.supernet = seeded_supernet(recipe.space(), recipe, data)
        self.space = self.supernet.space
        self.weight_optimizer = WeightOptimizer(self.supernet, recipe, data.processes)
        self.adversary = search_adversary(recipe, data.threat)

    @abstractmethod
    def step(
        self, context: StepContext, batch: SearchBatch, held: SearchBatch
    ) -> Mapping[str, float | Tensor]:
        """Move architecture and weights; return figures to log.

        Args:
            context: the step's number and learning rate.
            batch: images that the weights learn from.
            held: images that the architecture learns from.
        """

    @abstractmethod
    def scores(self) -> Mapping[str, Tensor]:
        """Return what each role's operations are judged by in the end (edges, operations)."""

    def attacked(
        self,
        context: StepContext,
        purpose: str,
        cells: Mapping[str, CellWeights],
        *batches: SearchBatch,
    ) -> list[SearchBatch]:
        """Return batches attacked through an architecture; the noise belongs to the purpose."""
        generator = context.generator(f"{purpose} of process {self.data.processes.rank}")
        mode = self.recipe.craft_mode
        return [
            craft(self.supernet, cells, self.adversary, batch, generator, mode=mode)
            for batch in batches
        ]

    def train_weights(
        self, context: StepContext, cells: Mapping[str, CellWeights], batch: SearchBatch
    ) -> Tensor:
        """Take a step of the weights down a batch's cross-entropy; return the loss."""
        loss = F.cross_entropy(self.supernet(batch.images, cells), batch.labels)
        self.weight_optimizer.step(loss, context.lr)
        return loss.detach()

    @torch.no_grad()
    def held_out_accuracy(self, cells: Mapping[str, CellWeights]) -> float:
        """Return the supernet's accuracy on the held-out images under an architecture."""
        split = self.data.validation
        self.supernet.eval()
        correct = 0
        for chosen in torch.arange(len(split)).split(self.recipe.batch_size):
            images = to_float(split.images(chosen.to(split.device)))
            predicted = self.supernet(images, cells).argmax(1).cpu()
            correct += int((predicted == split.labels.cpu()[chosen]).sum())
        self.supernet.train()
        return correct / len(split)

    def cells(self) -> dict[str, Cell]:
        """Return each role's cell as the scores are now; "none" is never chosen."""
        return {
            role: best_two_edges(scores, self.space.operations)
            for role, scores in self.scores().items()
        }

    def leads(self) -> dict[str, dict[str, float]]:
        """Return by how much chosen operations are ahead of their runners-up, by role.

        In the unit of `scores`: the mean and the least over the kept edges.
        """
        by_role = {
            role: leads(scores, self.space.operations) for role, scores in self.scores().items()
        }
        return {role: {"mean": fmean(each), "least": min(each)} for role, each in by_role.items()}

    @property
    def genotype_name(self) -> str:
        """What a finished search calls its genotype: after its data and its seed."""
        return f"{self.algorithm}-{self.data.dataset.name}-seed{self.recipe.seed}"

    @torch.no_grad()
    def genotype(self, name: str) -> CellGenotype:
        """Return the present cells as a genotype."""
        source = searched_source(self.algorithm, self.recipe)
        return CellGenotype(name, "searched here", source, self.cells())

    def findings(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return figures for the record of a finished search, given its log."""
        return {}

    def write_figures(
        self, folder: Path, rows: Sequence[Mapping[str, Any]], genotype: CellGenotype
    ) -> None:
        """Write a finished search's own files beside the common ones."""
