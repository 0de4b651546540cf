"""The RACL search: weights and log-normal architecture in turn, under the constraint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.core.architecture import ArchitectureOptimizer
from robnet_zoo.search.core.differentiable import DifferentiableSearch
from robnet_zoo.search.core.spaces import Space
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.racl.constraint import Constraint
from robnet_zoo.search.racl.distribution import Distribution, Noise
from robnet_zoo.search.racl.lipschitz import OperationConstants
from robnet_zoo.search.racl.moments import LogNormal, cells_moments
from robnet_zoo.search.racl.recipe import Covariance, RaclRecipe
from robnet_zoo.search.run.data import SearchBatch, SearchData
from robnet_zoo.search.run.loop import StepContext


class RaclSearch(DifferentiableSearch[RaclRecipe]):
    """A search that minimises L_CE + theta c + rho/2 c^2 (Eq. 17).

    A step of the architecture takes one held batch and one sample of alpha and beta: mu descends,
    then sigma at the new mu (Eq. 18), then theta rises by rho c (Eq. 19). A step of the weights
    descends the cross-entropy of a training batch under a fresh sample.

    Attributes:
        distribution: the log-normals of alpha and beta.
        theta: the constraint's multiplier.
        log_target: ln lambda*; None until the first architecture step fixes it.
        log_lambda: logarithms of the operations' constants (cells, edges, operations).
        together: cells whose scores vary together, and the row of their type.
        trajectory: means and standard deviations of ln(beta alpha) at the end of each epoch
            (2, roles, edges, operations).
    """

    algorithm = "racl"

    def __init__(self, recipe: RaclRecipe, data: SearchData) -> None:
        super().__init__(recipe, data)
        space, device = self.space, data.processes.device
        generator = keyed_generator(recipe.seed, "architecture")
        self.distribution = Distribution(
            space.roles, len(space.operations), recipe.deviation, generator, device
        )
        self.together = cells_of_types(space, recipe.covariance)
        self.constants = OperationConstants(
            self.supernet, data.dataset.image_size, generator, batch_norm=recipe.batch_norm
        )
        learned = [self.distribution.means]
        if recipe.deviation:
            learned.append(self.distribution.scales)
        self.arch_optimizers = [
            ArchitectureOptimizer(
                tensors,
                lr=recipe.architecture_lr,
                weight_decay=recipe.architecture_decay,
                processes=data.processes,
            )
            for tensors in learned
        ]
        self.theta, self.log_target = 0.0, recipe.log_target
        self.log_lambda = self.constants.step().to(device)
        self.trajectory: list[Tensor] = []

    def step(
        self, context: StepContext, batch: SearchBatch, held: SearchBatch
    ) -> dict[str, Tensor]:
        """Move the architecture, after the warm-up, then the weights; return the weights' loss."""
        self.log_lambda = self.constants.step().to(context.device)
        if context.epoch >= self.recipe.warmup:
            self._move_architecture(context, held)
        noise = self.distribution.noise(context.generator("sample for the weights"))
        with torch.no_grad():
            cells = self._cells(noise)
        (batch,) = self.attacked(context, "noise on weights", cells, batch)
        return {"loss": self.train_weights(context, cells, batch)}

    def _move_architecture(self, context: StepContext, held: SearchBatch) -> None:
        noise = self.distribution.noise(context.generator("sample for the architecture"))
        (held,) = self.attacked(context, "noise on architecture", self._cells(noise), held)
        if self.log_target is None:
            self.log_target = float(self.score().mean.detach()) - self.recipe.target_drop
        constraint = self._constraint(self.log_target)
        for arch_optimizer in self.arch_optimizers:
            loss = F.cross_entropy(self.supernet(held.images, self._cells(noise)), held.labels)
            violation = constraint.violation(self.score())
            total = loss + constraint.cost(violation, self.theta)
            arch_optimizer.step(torch.autograd.grad(total, arch_optimizer.learned))
        violation = constraint.violation(self.score()).detach()
        self.theta = constraint.raised(self.theta, float(violation))

    def _cells(self, noise: Noise | None) -> dict[str, CellWeights]:
        return self.distribution.cells(noise, normalise=self.recipe.normalise == "both")

    def _constraint(self, log_target: float) -> Constraint:
        recipe = self.recipe
        return Constraint(log_target, recipe.eta, recipe.rho, recipe.spread, recipe.penalty)

    def score(self) -> LogNormal:
        """Return the network's Lipschitz score under the present weights and architecture."""
        return score_of(
            self.distribution,
            self.log_lambda,
            self.together,
            normalise=self.recipe.normalise != "nothing",
        )

    @torch.no_grad()
    def end_epoch(self, epoch: int) -> dict[str, float | None]:
        """Return the score and the constraint, empty before there is one, and the accuracy.

        The accuracy is that of the supernet with the medians of alpha and beta on the held-out
        images.
        """
        mean, variance = self.distribution.product
        self.trajectory.append(torch.stack([mean, variance.sqrt()]).cpu())
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
        return row | {"held_out_accuracy": self.held_out_accuracy(self._cells(None))}

    def scores(self) -> dict[str, Tensor]:
        """Return the logarithm of what the recipe's choice judges each operation by."""
        generator = keyed_generator(self.recipe.seed, "choice", device=self.data.processes.device)
        worth = self.distribution.worth(self.recipe.choice, generator)
        return dict(zip(self.space.roles, worth, strict=True))

    def findings(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the target, whether the constraint is met, and the mean Lipschitz constants."""
        constants = zip(self.space.operations, self.log_lambda.unbind(-1), strict=True)
        return {
            "log_target": self.log_target,
            "preference": self.preference(),
            "constraint_met": _is_met(rows[-1]),
            "mean_log_lambda": {  # over cells and edges; "none" has no logarithm
                name: float(values.mean()) for name, values in constants if name != "none"
            },
        }

    def preference(self) -> dict[str, Any]:
        """Return how operations' gain in weight goes with their Lipschitz constants, by role.

        The rank correlation over the operations, "none" left out, of the mean ln lambda with the
        mean change of ln(beta alpha) since the first epoch; None where nothing has changed.
        """
        from scipy.stats import spearmanr

        first, last = (self.trajectory[epoch][0] for epoch in (0, -1))
        kept = [i for i, name in enumerate(self.space.operations) if name != "none"]
        findings = {}
        for row, role in enumerate(self.space.roles):
            cells = [cell for cell, slot in enumerate(self.space.slots) if slot.role == role]
            constants = self.log_lambda[cells].mean((0, 1))[kept].cpu()
            gain = (last - first)[row].mean(0)[kept]
            measured = spearmanr(constants, gain) if gain.max() > gain.min() else None
            findings[role] = {
                "spearman": float(measured.statistic) if measured else None,
                "p_value": float(measured.pvalue) if measured else None,
                "n": len(kept),
            }
        return findings

    def write_figures(
        self, folder: Path, rows: Sequence[Mapping[str, Any]], genotype: CellGenotype
    ) -> None:
        """Write the trajectory as table and plots, and say whether the constraint is met."""
        from robnet_zoo.search.racl import plots

        trajectory, space, last = torch.stack(self.trajectory), self.space, rows[-1]
        plots.write_weights(folder / plots.TABLE, trajectory, space.roles, space.operations)
        warmup = self.recipe.warmup
        plots.draw_constraint(
            folder / plots.CONSTRAINT,
            rows,
            self.recipe.eta,
            self.log_target,
            warmup,
            len(self.data.validation),
        )
        plots.draw_weights(folder / plots.WEIGHTS, trajectory, genotype, space.operations, warmup)
        if last["c"] is None:
            print(f"{folder}: the search ended in its warm-up, before any constraint")
            return
        print(
            f"{folder}: constraint {'met' if _is_met(last) else 'NOT met'}, c = {last['c']:.3g}, "
            f"Pr[lambda <= lambda*] = {last['probability']:.3f} (asked: {self.recipe.eta})"
        )

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            **super().state(),
            "distribution": [arch_optimizer.state() for arch_optimizer in self.arch_optimizers],
            "vectors": self.constants.norms.vectors,
            "log_lambda": self.log_lambda,
            "theta": self.theta,
            "log_target": self.log_target,
            "trajectory": self.trajectory,
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        super().load(state)
        for arch_optimizer, saved in zip(self.arch_optimizers, state["distribution"], strict=True):
            arch_optimizer.load(saved)
        self.constants.norms.vectors = state["vectors"]
        self.log_lambda, self.theta = state["log_lambda"], state["theta"]
        self.log_target = state["log_target"]
        self.trajectory = [epoch.cpu() for epoch in state["trajectory"]]


def _is_met(row: Mapping[str, Any]) -> bool:
    return row["c"] is not None and row["c"] <= 0


def cells_of_types(space: Space, covariance: Covariance) -> list[tuple[int, list[int]]]:
    """Return the cells of each type, behind the row of its weights; each alone if independent."""
    rows = [space.roles.index(slot.role) for slot in space.slots]
    if covariance == "independent":
        return [(row, [cell]) for cell, row in enumerate(rows)]
    return [
        (row, [cell for cell, other in enumerate(rows) if other == row])
        for row in range(len(space.roles))
    ]


def score_of(
    distribution: Distribution,
    log_lambda: Tensor,
    together: Sequence[tuple[int, list[int]]],
    *,
    normalise: bool,
) -> LogNormal:
    """Return the score of a network.

    Args:
        distribution: of its architecture.
        log_lambda: logarithms of its operations' constants (cells, edges, operations).
        together: which cells vary together, from `cells_of_types`.
        normalise: let weights sum to 1 in the score.
    """
    alpha, beta = distribution.alpha, distribution.beta
    parts = [
        cells_moments(
            LogNormal(*(part[row] for part in alpha)),
            LogNormal(*(part[row] for part in beta)),
            log_lambda[cells],
            normalise=normalise,
        )
        for row, cells in together
    ]
    return LogNormal(*(torch.stack(part).sum() for part in zip(*parts, strict=True)))
