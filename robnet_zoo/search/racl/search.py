"""The RACL search: weights and log-normal architecture in turn, under the constraint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.data import to_float
from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.core.architecture import ArchitectureOptimizer
from robnet_zoo.search.core.discretise import best_two_edges
from robnet_zoo.search.core.optimizers import (
    WeightOptimizer,
    craft,
    search_adversary,
    seeded_supernet,
)
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.racl.constraint import Constraint
from robnet_zoo.search.racl.distribution import Distribution, Noise
from robnet_zoo.search.racl.lipschitz import OperationConstants
from robnet_zoo.search.racl.moments import LogNormal, network_moments
from robnet_zoo.search.racl.recipe import RaclRecipe
from robnet_zoo.search.run.artifacts import searched_source
from robnet_zoo.search.run.data import Batch, SearchData
from robnet_zoo.search.run.loop import StepContext


class RaclSearch:
    """A search that minimises L_CE + theta c + rho/2 c^2 (Eq. 17).

    A step of the architecture takes one held batch and one sample of alpha and beta: mu descends,
    then sigma at the new mu (Eq. 18), then theta rises by rho c (Eq. 19). A step of the weights
    descends the cross-entropy of a training batch under a fresh sample.

    Attributes:
        supernet: the weights.
        distribution: the log-normals of alpha and beta.
        theta: the constraint's multiplier.
        log_target: ln lambda*; None until the first architecture step fixes it.
        log_lambda: logarithms of the operations' constants (cells, edges, operations).
        trajectory: means of ln(beta alpha) at the end of each epoch (roles, edges, operations).
    """

    def __init__(self, recipe: RaclRecipe, data: SearchData) -> None:
        self.recipe, self.data = recipe, data
        processes = data.processes
        self.supernet = seeded_supernet(recipe.space(), recipe, data)
        space = self.supernet.space
        draws = keyed_generator(recipe.seed, "architecture")
        self.distribution = Distribution(
            space.roles, len(space.operations), recipe.deviation, draws, processes.device
        )
        self.row_of_cell = [space.roles.index(slot.role) for slot in space.slots]
        self.constants = OperationConstants(
            self.supernet, data.dataset.image_size, draws, batch_norm=recipe.batch_norm
        )
        self.learner = WeightOptimizer(self.supernet, recipe, processes)
        learned = [self.distribution.means]
        if recipe.deviation:
            learned.append(self.distribution.scales)
        self.choosers = [
            ArchitectureOptimizer(
                group,
                lr=recipe.architecture_lr,
                weight_decay=recipe.architecture_decay,
                processes=processes,
            )
            for group in learned
        ]
        self.adversary = search_adversary(recipe, data.threat)
        self.theta, self.log_target = 0.0, recipe.log_target
        self.log_lambda = self.constants.step().to(processes.device)
        self.trajectory: list[Tensor] = []

    def step(self, at: StepContext, batch: Batch, held: Batch) -> dict[str, Tensor]:
        """Move the architecture, after the warm-up, then the weights; return the weights' loss."""
        self.log_lambda = self.constants.step().to(at.device)
        if at.epoch >= self.recipe.warmup:
            self._move_architecture(at, held)
        noise = self.distribution.noise(at.generator("sample for the weights"))
        with torch.no_grad():
            cells = self._cells(noise)
        batch = self._attacked(at, "weights", cells, batch)
        loss = F.cross_entropy(self.supernet(batch.images, cells), batch.labels)
        self.learner.descend(loss, at.lr)
        return {"loss": loss.detach()}

    def _move_architecture(self, at: StepContext, held: Batch) -> None:
        noise = self.distribution.noise(at.generator("sample for the architecture"))
        held = self._attacked(at, "architecture", self._cells(noise), held)
        if self.log_target is None:
            whole = self._constraint(0.0).violation(self.score())
            self.log_target = float(whole.detach()) - self.recipe.target_drop
        constraint = self._constraint(self.log_target)
        for arch_optimizer in self.choosers:
            loss = F.cross_entropy(self.supernet(held.images, self._cells(noise)), held.labels)
            violation = constraint.violation(self.score())
            total = loss + constraint.cost(violation, self.theta)
            arch_optimizer.descend(torch.autograd.grad(total, arch_optimizer.learned))
        violation = constraint.violation(self.score()).detach()
        self.theta = constraint.raised(self.theta, float(violation))

    def _attacked(
        self, at: StepContext, stream: str, cells: Mapping[str, CellWeights], batch: Batch
    ) -> Batch:
        draws = at.generator(f"noise on {stream} of process {self.data.processes.rank}")
        mode = self.recipe.craft_mode
        return craft(self.supernet, cells, self.adversary, batch, draws, mode=mode)

    def _cells(self, noise: Noise | None) -> dict[str, CellWeights]:
        return self.distribution.cells(noise, normalise=self.recipe.normalise)

    def _constraint(self, log_target: float) -> Constraint:
        recipe = self.recipe
        return Constraint(log_target, recipe.eta, recipe.rho, recipe.spread, recipe.penalty)

    def score(self) -> LogNormal:
        """Return the network's Lipschitz score under the present weights and architecture."""
        alpha, beta = (
            LogNormal(part.mean[self.row_of_cell], part.variance[self.row_of_cell])
            for part in (self.distribution.alpha, self.distribution.beta)
        )
        return network_moments(alpha, beta, self.log_lambda)

    @torch.no_grad()
    def end_epoch(self, epoch: int) -> dict[str, float | None]:
        """Return the score and the constraint, empty before there is one, and the accuracy.

        The accuracy is that of the supernet with the medians of alpha and beta on the held-out
        images.
        """
        self.trajectory.append(self.distribution.product.mean.cpu())
        score = self.score()
        row: dict[str, float | None] = {
            "mu": float(score.mean),
            "sigma": float(score.variance.sqrt()),
            "c": None,
            "theta": self.theta,
            "probability": None,
        }
        if self.log_target is not None:
            constraint = self._constraint(self.log_target)
            row["c"] = float(constraint.violation(score))
            row["probability"] = float(constraint.probability(score))
        return row | {"held_out_accuracy": self._accuracy()}

    def _accuracy(self) -> float:
        split, cells = self.data.validation, self._cells(None)
        self.supernet.eval()
        correct = 0
        for chosen in torch.arange(len(split)).split(self.recipe.batch_size):
            images = to_float(split.images(chosen.to(split.device)))
            found = self.supernet(images, cells).argmax(1).cpu()
            correct += int((found == split.labels.cpu()[chosen]).sum())
        self.supernet.train()
        return correct / len(split)

    @torch.no_grad()
    def genotype(self, name: str) -> CellGenotype:
        """Return the best operations, "none" left out, on each node's two best edges."""
        space = self.supernet.space
        draws = keyed_generator(self.recipe.seed, "choice", device=self.data.processes.device)
        worth = self.distribution.worth(self.recipe.choice, draws)
        cells = {
            role: best_two_edges(worth[row], space.operations)
            for row, role in enumerate(space.roles)
        }
        return CellGenotype(name, "searched here", searched_source("racl", self.recipe), cells)

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            **self.learner.state(),
            "distribution": [arch_optimizer.state() for arch_optimizer in self.choosers],
            "vectors": self.constants.norms.vectors,
            "log_lambda": self.log_lambda,
            "theta": self.theta,
            "log_target": self.log_target,
            "trajectory": self.trajectory,
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.learner.load(state)
        for arch_optimizer, kept in zip(self.choosers, state["distribution"], strict=True):
            arch_optimizer.load(kept)
        self.constants.norms.vectors = state["vectors"]
        self.log_lambda, self.theta = state["log_lambda"], state["theta"]
        self.log_target = state["log_target"]
        self.trajectory = [one.cpu() for one in state["trajectory"]]
