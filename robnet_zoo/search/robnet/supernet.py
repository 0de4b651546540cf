"""The supernet's training: each batch attacks and trains one random architecture (section 3.2)."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.search.core.optimizers import (
    WeightOptimizer,
    craft,
    search_adversary,
    seeded_supernet,
)
from robnet_zoo.search.core.spaces import robnet_space
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.robnet.codes import density, random_codes
from robnet_zoo.search.robnet.inherit import masks
from robnet_zoo.search.robnet.recipe import RobNetRecipe
from robnet_zoo.search.run.data import Batch, SearchData
from robnet_zoo.search.run.loop import StepContext
from robnet_zoo.threat_models import ThreatModel

LAYOUT = torch.channels_last  # twice as fast as contiguous for separable convolutions on a CPU


def build_supernet(recipe: RobNetRecipe, data: SearchData) -> Supernet:
    """Return the supernet in train mode, with weights drawn from the recipe's seed."""
    space = robnet_space(recipe.layers, recipe.space == "cell")
    return seeded_supernet(space, recipe, data).to(memory_format=LAYOUT)


def attacker(recipe: RobNetRecipe, threat: ThreatModel, share: float = 1.0) -> Adversary:
    """Return the adversary of training at a share of its size."""
    full = search_adversary(recipe, threat)
    assert full is not None, "a RobNet recipe has attack steps"
    return dataclasses.replace(full, epsilon=full.epsilon * share, step_size=full.step_size * share)


class SupernetTraining:
    """A `Search` of the shared loop: adversarial training with path dropout.

    An architecture is a set of switches: nothing is built for it, and what it leaves out is not
    computed. Every process trains the same one on its own images.
    """

    def __init__(self, recipe: RobNetRecipe, data: SearchData) -> None:
        self.recipe, self.threat, self.rank = recipe, data.threat, data.processes.rank
        self.steps = recipe.epochs * len(data.streams[0])
        self.supernet = build_supernet(recipe, data)
        self.learner = WeightOptimizer(self.supernet, recipe, data.processes)

    def risen(self, at: StepContext) -> float:
        """Return the share of their full size that epsilon and the learning rate have reached.

        At first a narrow network learns nothing from an adversary of full size.
        """
        warmup = self.recipe.warmup * self.steps
        step = at.epoch * (self.steps // self.recipe.epochs) + at.index
        return min(1.0, (step + 1) / warmup) if warmup else 1.0

    def step(self, at: StepContext, batch: Batch) -> dict[str, float | Tensor]:
        """Attack one random architecture on a batch and take one step down its loss."""
        recipe = self.recipe
        rng = random.Random(f"{at.seed}/{at.epoch}/{at.index}")
        codes = random_codes(rng, recipe.cells, recipe.keep)
        weights, share = masks(self.supernet, codes), self.risen(at)
        images = batch.images.contiguous(memory_format=LAYOUT)
        noise = at.generator(f"noise {self.rank}")
        attacked = craft(
            self.supernet,
            weights,
            attacker(recipe, self.threat, share),
            Batch(images, batch.labels),
            noise,
            mode=recipe.craft_mode,
        )
        logits = self.supernet(attacked.images, weights)
        loss = F.cross_entropy(logits, attacked.labels)
        self.learner.descend(loss, at.lr * share)
        right = (logits.detach().argmax(1) == batch.labels).float().mean()
        return {"loss": loss.detach(), "robust_train": right, "density": density(codes)}

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Nothing is due: architectures are judged when training has ended."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint must hold."""
        return self.learner.state()

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.learner.load(state)
