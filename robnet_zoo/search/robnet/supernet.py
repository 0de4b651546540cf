"""The supernet's training: each batch attacks and trains one random architecture (section 3.2)."""

from __future__ import annotations

import dataclasses
import random

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.search.core.optimizers import (
    WeightOptimizer,
    WeightTraining,
    craft,
    search_adversary,
    seeded_supernet,
)
from robnet_zoo.search.core.spaces import robnet_space
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.robnet.codes import density, random_codes
from robnet_zoo.search.robnet.inherit import masks
from robnet_zoo.search.robnet.recipe import RobNetRecipe
from robnet_zoo.search.run.data import SearchBatch, SearchData
from robnet_zoo.search.run.loop import StepContext
from robnet_zoo.threat_models import ThreatModel

LAYOUT = torch.channels_last  # twice as fast as contiguous for separable convolutions on a CPU


def build_supernet(recipe: RobNetRecipe, data: SearchData) -> Supernet:
    """Return the supernet in train mode, with weights drawn from the recipe's seed."""
    space = robnet_space(recipe.layers, recipe.space == "cell")
    return seeded_supernet(space, recipe, data).to(memory_format=LAYOUT)


def training_adversary(recipe: RobNetRecipe, threat: ThreatModel, scale: float = 1.0) -> Adversary:
    """Return the adversary of training, its epsilon and step scaled."""
    full = search_adversary(recipe, threat)
    assert full is not None, "a RobNet recipe has attack steps"
    return dataclasses.replace(full, epsilon=full.epsilon * scale, step_size=full.step_size * scale)


class SupernetTraining(WeightTraining):
    """A `Search` of the shared loop: adversarial training with path dropout.

    An architecture is a set of switches: nothing is built for it, and what it leaves out is not
    computed. Every process trains the same one on its own images. Architectures are judged when
    training has ended.
    """

    def __init__(self, recipe: RobNetRecipe, data: SearchData) -> None:
        self.recipe, self.threat, self.rank = recipe, data.threat, data.processes.rank
        self.steps = recipe.epochs * len(data.streams[0])
        self.supernet = build_supernet(recipe, data)
        self.weight_optimizer = WeightOptimizer(self.supernet, recipe, data.processes)

    def scale(self, context: StepContext) -> float:
        """Return the fraction of full size that epsilon and the learning rate have reached.

        At first a narrow network learns nothing from an adversary of full size.
        """
        warmup = self.recipe.warmup * self.steps
        step = context.epoch * (self.steps // self.recipe.epochs) + context.index
        return min(1.0, (step + 1) / warmup) if warmup else 1.0

    def step(self, context: StepContext, batch: SearchBatch) -> dict[str, float | Tensor]:
        """Attack one random architecture on a batch and take one step down its loss."""
        recipe = self.recipe
        rng = random.Random(f"{context.seed}/{context.epoch}/{context.index}")
        codes = random_codes(rng, recipe.cells, recipe.keep)
        weights, scale = masks(self.supernet, codes), self.scale(context)
        images = batch.images.contiguous(memory_format=LAYOUT)
        noise = context.generator(f"noise {self.rank}")
        attacked = craft(
            self.supernet,
            weights,
            training_adversary(recipe, self.threat, scale),
            SearchBatch(images, batch.labels),
            noise,
            mode=recipe.craft_mode,
        )
        logits = self.supernet(attacked.images, weights)
        loss = F.cross_entropy(logits, attacked.labels)
        self.weight_optimizer.step(loss, context.lr * scale)
        right = (logits.detach().argmax(1) == batch.labels).float().mean()
        return {"loss": loss.detach(), "robust_train": right, "density": density(codes)}
