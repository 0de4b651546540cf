"""The ARNAS search: three cell types, natural and adversarial loss, one common descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.genotypes import Cell, CellGenotype
from robnet_zoo.search.arnas.objectives import mixture_weights, operation_weights, scaled, size
from robnet_zoo.search.arnas.recipe import ArnasRecipe
from robnet_zoo.search.arnas.trace import TRACE, draw_trace, efficient
from robnet_zoo.search.core.softmax import INITIAL_SCALE, SoftmaxSearch
from robnet_zoo.search.core.spaces import EDGES
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.core.unrolled import Objective
from robnet_zoo.search.run.data import SearchBatch, SearchData
from robnet_zoo.search.run.loop import StepContext


class ArnasSearch(SoftmaxSearch[ArnasRecipe]):
    """A search by alternating steps: first of the architecture, then of the weights.

    Both batches are attacked through the present supernet. The architecture's step goes along
    a mixture of its objectives' gradients, the shortest (MGDA); the weights' step descends the
    cross-entropy of the attacked training batch. The architecture consists of each role's scores
    (edges, operations), in the order of the space's roles.
    """

    algorithm = "arnas"

    def __init__(self, recipe: ArnasRecipe, data: SearchData) -> None:
        super().__init__(recipe, data)
        self.size = size(self.supernet)

    def draw_scores(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return each role's scores at the start."""
        shape = (len(self.space.roles), EDGES, len(self.space.operations))
        return (INITIAL_SCALE * torch.randn(shape, generator=generator)).unbind()

    def mixture(self, architecture: Sequence[Tensor]) -> dict[str, CellWeights]:
        """Return each role's softmax over an edge's operations; edges have no weights."""
        weights = operation_weights(self.space, architecture)
        return {role: CellWeights(operations) for role, operations in weights.items()}

    def step(
        self, context: StepContext, batch: SearchBatch, held: SearchBatch
    ) -> dict[str, Tensor]:
        """Move the architecture, then the weights; return what is worth logging."""
        attacked, attacked_held = self.attack_both(context, batch, held)
        objectives = list(self.objectives(held, attacked_held).values())
        gradients = self.gradients(objectives, self.classification(attacked), context.lr)
        rows = torch.stack([each.gradient for each in gradients])
        losses = torch.stack([each.loss for each in gradients])
        self.data.processes.average_([rows, losses])
        mixed = mixture_weights(self.recipe.mixing, rows).to(rows)
        self.arch_optimizer.step(mixed @ rows)

        figures = {"loss": self.train_weights(context, self.mixture(self.architecture), attacked)}
        for index, (name, factor) in enumerate(self.factors().items()):
            figures |= {name: losses[index] / factor, f"{name}_share": mixed[index]}
        return figures

    def attack_both(self, context: StepContext, *batches: SearchBatch) -> list[SearchBatch]:
        """Return the batches attacked through the present supernet."""
        return self.attacked(context, "noise", self.mixture(self.architecture), *batches)

    def factors(self) -> dict[str, float]:
        """Return what each objective is multiplied by, in the order of the objectives."""
        factors = {"natural": 1.0, "adversarial": self.recipe.adversarial_weight}
        if self.recipe.parameters_weight:
            factors["parameters"] = self.recipe.parameters_weight
        return factors

    def objectives(self, held: SearchBatch, attacked_held: SearchBatch) -> dict[str, Objective]:
        """Return the objectives, each times its factor."""
        plain = {
            "natural": self.classification(held),
            "adversarial": self.classification(attacked_held),
            "parameters": self.size,
        }
        return {name: scaled(plain[name], factor) for name, factor in self.factors().items()}

    def cells(self) -> dict[str, Cell]:
        """Return each role's cell as the scores are now.

        A cell type without a place in the space takes the other one's cell, so that any searched
        placement gives a complete genotype.
        """
        cells = super().cells()
        for role, other in (("accurate", "robust"), ("robust", "accurate")):
            if role not in cells:
                cells[role] = cells[other]
        return cells

    def findings(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the supernet's size, and the epochs that no other beats in both losses."""
        return {
            "supernet_parameters": sum(p.numel() for p in self.supernet.parameters()),
            "efficient_epochs": [rows[index]["epoch"] for index in efficient(rows)],
        }

    def write_figures(
        self, folder: Path, rows: Sequence[Mapping[str, Any]], genotype: CellGenotype
    ) -> None:
        """Draw the Pareto trace."""
        stream, threat = self.data.streams[1], self.data.threat
        images = len(stream) * self.recipe.batch_size
        attack = f"PGD-{self.recipe.attack_steps}, {threat.norm} {threat.epsilon.text}"
        draw_trace(folder / TRACE, rows, images, attack)
