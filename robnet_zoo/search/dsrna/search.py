"""The DSRNA search: one-step bilevel, with a measure of robustness in the outer objective.

min over a of  L_val(w'(a), a) - gamma R(w'(a), a),   w' = w - lr d L_train(w, a) / dw
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.core.architecture import ArchitectureOptimizer
from robnet_zoo.search.core.discretise import best_two_edges
from robnet_zoo.search.core.optimizers import WeightOptimizer, seeded_supernet
from robnet_zoo.search.core.spaces import EDGES, NODES, TARGETS, Space
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.core.unrolled import (
    Outcome,
    VirtualStep,
    Weights,
    first_order_gradient,
    unrolled_gradients,
)
from robnet_zoo.search.dsrna.metrics import (
    certified_lower_bound,
    jacobian_norm_bound,
    size_of_slack,
)
from robnet_zoo.search.dsrna.recipe import DsrnaRecipe
from robnet_zoo.search.run.artifacts import searched_source
from robnet_zoo.search.run.data import Batch, SearchData
from robnet_zoo.search.run.loop import StepContext

INITIAL_SCALE = 1e-3  # standard deviation of the architecture's scores at the start


def mixture(space: Space, architecture: Sequence[Tensor]) -> dict[str, CellWeights]:
    """Return each role's mixture: softmax over an edge's operations, and over a node's edges.

    Args:
        space: its roles and operations.
        architecture: scores of operations (roles, edges, operations) and of edges (roles, edges).
    """
    operations, edges = architecture
    nodes = [edges[:, [t == node for t in TARGETS]].softmax(1) for node in range(NODES)]
    each = zip(space.roles, operations.softmax(2), torch.cat(nodes, 1), strict=True)
    return {role: CellWeights(shares, betas) for role, shares, betas in each}


class DsrnaSearch:
    """A search by alternating steps: first of the architecture, then of the weights.

    Attributes:
        supernet: the weights.
        architecture: the scores that `mixture` takes.
    """

    def __init__(self, recipe: DsrnaRecipe, data: SearchData) -> None:
        self.recipe, self.data = recipe, data
        processes = data.processes
        self.supernet = seeded_supernet(recipe.space(), recipe, data)
        space = self.supernet.space
        draws = keyed_generator(recipe.seed, "architecture")
        roles = len(space.roles)
        self.architecture = [
            (INITIAL_SCALE * torch.randn(shape, generator=draws))
            .to(processes.device)
            .requires_grad_()
            for shape in ((roles, EDGES, len(space.operations)), (roles, EDGES))
        ]
        self.learner = WeightOptimizer(self.supernet, recipe, processes)
        self.arch_optimizer = ArchitectureOptimizer(
            self.architecture,
            lr=recipe.architecture_lr,
            betas=recipe.architecture_betas,
            weight_decay=recipe.architecture_decay,
            processes=processes,
        )

    def step(self, at: StepContext, batch: Batch, held: Batch) -> dict[str, float | Tensor]:
        """Move the architecture, then the weights; return what is worth logging."""
        figures: dict[str, float | Tensor] = {}
        outcome = self.outcome(at, batch, held, figures)
        self.arch_optimizer.descend(outcome.gradient)

        cells = mixture(self.supernet.space, self.architecture)
        loss = F.cross_entropy(self.supernet(batch.images, cells), batch.labels)
        self.learner.descend(loss, at.lr)
        return {"loss": loss.detach(), **figures}

    def outcome(
        self, at: StepContext, batch: Batch, held: Batch, figures: dict[str, float | Tensor]
    ) -> Outcome:
        """Return the outer objective's value and gradient; its terms go into `figures`."""

        def training(weights: Weights, architecture: Sequence[Tensor]) -> Tensor:
            return self._loss(weights, architecture, batch)

        def validation(weights: Weights, architecture: Sequence[Tensor]) -> Tensor:
            loss = self._loss(weights, architecture, held)
            figures["natural"] = loss.detach()
            warm = at.epoch < self.recipe.warmup  # the metric is then logged alone
            with torch.set_grad_enabled(not warm):
                metric = self.robustness(at, weights, architecture, held, figures)
            return loss if warm else loss - self.recipe.gamma * metric

        present = dict(self.supernet.named_parameters())
        if self.recipe.order == "first":
            return first_order_gradient(validation, present, self.architecture)
        step = VirtualStep(
            at.lr, self.recipe.momentum, self.recipe.weight_decay, self._momentum_buffers()
        )
        (found,) = unrolled_gradients([validation], training, present, self.architecture, step)
        return found

    def robustness(
        self,
        at: StepContext,
        weights: Weights,
        architecture: Sequence[Tensor],
        batch: Batch,
        figures: dict[str, float | Tensor],
    ) -> Tensor:
        """Return the metric R of some weights and architecture; its terms go into `figures`."""
        recipe, threat = self.recipe, self.data.threat
        cells = mixture(self.supernet.space, architecture)

        def model(images: Tensor) -> Tensor:
            return functional_call(self.supernet, dict(weights), (images, cells))

        terms = []
        with self._eval_mode():
            if recipe.metric != "jacobian":
                few = Batch(*(part[: recipe.bound_images] for part in batch))
                how: Any = {"norm": threat.norm, "bound": recipe.bound}
                largest = threat.epsilon.value
                size = recipe.bound_size or size_of_slack(model, few, recipe.slack, largest, **how)
                terms.append(certified_lower_bound(model, few, size, **how))
                figures |= {"certified": terms[-1].detach(), "certified_size": size}
            if recipe.metric != "cb":
                draws = keyed_generator(at.seed, "projections", at.epoch, at.index)
                terms.append(
                    jacobian_norm_bound(
                        model,
                        batch.images,
                        threat.epsilon.value,
                        draws,
                        norm=threat.norm,
                        estimator=recipe.estimator,
                        estimates=recipe.estimates,
                    )
                )
                figures["jacobian"] = terms[-1].detach()
        return torch.stack(terms).sum()

    def _loss(self, weights: Weights, architecture: Sequence[Tensor], batch: Batch) -> Tensor:
        cells = mixture(self.supernet.space, architecture)
        logits = functional_call(self.supernet, dict(weights), (batch.images, cells))
        return F.cross_entropy(logits, batch.labels)

    @contextmanager
    def _eval_mode(self) -> Iterator[None]:
        self.supernet.eval()
        try:
            yield
        finally:
            self.supernet.train()

    def _momentum_buffers(self) -> dict[str, Tensor]:
        state = self.learner.optimizer.state
        return {
            name: state[weight]["momentum_buffer"]
            for name, weight in self.supernet.named_parameters()
            if state[weight].get("momentum_buffer") is not None
        }

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Return how undecided each cell still is: 1 at the start, 0 when all is chosen."""
        space = self.supernet.space
        most = torch.tensor(float(len(space.operations))).log()
        cells = mixture(space, self.architecture)
        return {
            f"{role}_entropy": float(
                torch.special.entr(cell.operations).sum(1).mean().detach().cpu() / most
            )
            for role, cell in cells.items()
        }

    def genotype(self, name: str) -> CellGenotype:
        """Return the cells of each node's two best edges, by operation times edge (PC-DARTS)."""
        space = self.supernet.space
        cells = {}
        for role, cell in mixture(space, self.architecture).items():
            assert isinstance(cell.operations, Tensor) and cell.edges is not None
            cells[role] = best_two_edges(cell.operations * cell.edges[:, None], space.operations)
        return CellGenotype(name, "searched here", searched_source("dsrna", self.recipe), cells)

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {**self.learner.state(), "architecture": self.arch_optimizer.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.learner.load(state)
        self.arch_optimizer.load(state["architecture"])
