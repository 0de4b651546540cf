"""What changes over a training run, as functions of its progress from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.recipes import Recipe


@dataclass(frozen=True)
class Schedule:
    """How steps map to the progress of a training: a line from (first, start) to (last, 1).

    A run without a time budget keeps one schedule, Schedule(0, 0.0, steps). A time budget draws a
    new line from where the run stands whenever the speed is known better.
    """

    first: int
    start: float
    last: int

    def progress(self, step: int) -> float:
        """Return the part of the training that is done before `step`, from 0 to 1."""
        return self.start + (1 - self.start) * (step - self.first) / (self.last - self.first)


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate at a progress of the training, from 0 to 1."""
    peak = recipe.peak_lr()
    if recipe.decay == "piecewise":
        return peak * 0.1 ** sum(progress >= milestone for milestone in recipe.milestones)
    if progress < recipe.warmup:
        return recipe.lr_start + (peak - recipe.lr_start) * progress / recipe.warmup
    fallen = (progress - recipe.warmup) / (1 - recipe.warmup)
    left = (1 + math.cos(math.pi * fallen)) / 2 if recipe.decay == "cosine" else 1 - fallen
    return recipe.lr_end + (peak - recipe.lr_end) * left


class Stage(NamedTuple):
    """What decides which operations a step is made of.

    Attributes:
        early: whether crafting takes the recipe's early steps.
        perturbed: whether weights are perturbed.
    """

    early: bool
    perturbed: bool


def stage_at(recipe: Recipe, progress: float) -> Stage:
    """Return the stage that a training is in."""
    return Stage(progress < recipe.early_until, bool(recipe.awp) and progress >= recipe.awp_from)


def epsilon_scale(recipe: Recipe, progress: float) -> float:
    """Return what part of epsilon the adversary has."""
    if progress >= recipe.epsilon_warmup:
        return 1.0
    return max(progress, 0.01) / recipe.epsilon_warmup  # an adversary needs some room


def crafting(recipe: Recipe, threat: ThreatModel, *, early: bool = False) -> Adversary:
    """Return the adversary of a stage of the training, at its full epsilon."""
    epsilon = threat.epsilon.value
    return Adversary(
        epsilon=epsilon,
        step_size=epsilon * (recipe.early_step_share if early else recipe.step_share),
        steps=recipe.early_steps if early else recipe.steps,
        norm=threat.norm,
        start=recipe.start,
        start_size=epsilon * recipe.start_share if recipe.start == "uniform" else None,
        clip_start=recipe.clip_start,
        project=recipe.project,
        loss="kl" if recipe.loss == "trades" else "ce",
    )


def validation_adversary(threat: ThreatModel) -> Adversary:
    """Return the adversary that chooses checkpoints: PGD-10 with the threat model's step."""
    return Adversary(
        epsilon=threat.epsilon.value, step_size=threat.step.value, steps=10, norm=threat.norm
    )


def passes(recipe: Recipe, progress: float) -> float:
    """Return what a step costs, in network passes."""
    if not recipe.adversarial:
        return 1.0
    return 1.0 + (recipe.early_steps if progress < recipe.early_until else recipe.steps)


def mean_passes(recipe: Recipe, progress: float) -> float:
    """Return the mean cost of a step over what is left of the training."""
    early = max(recipe.early_until - progress, 0.0) / (1 - progress)
    return early * passes(recipe, 0.0) + (1 - early) * passes(recipe, 1.0)
