"""Small attacks along the gradient that any honest model gives way to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.losses import cross_entropy, margin
from robnet_zoo.attacks.norms import TINY
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.eval.checks.forms import attacked
from robnet_zoo.eval.checks.gradients import NO_WAY, noise
from robnet_zoo.eval.checks.model import ModelUnderTest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

IMAGES = 32  # that the attacks meet
STEPS = 7  # of epsilon / 4, as in the papers' training
FALLING = 0.1  # of the images may be right, and no closer to another class than at the start
FREE_STEPS, FREE_STEP = 10, 0.2  # of the pixel range: twice across it
STANDING = 0.05  # of the images may survive an attack without a bound


class Ascent(NamedTuple):
    """What PGD did.

    Attributes:
        logits: (steps + 1, N, classes), from the start on.
        margins: (steps + 1, N).
        adversarial: the last iterate (N, C, H, W).
    """

    logits: Tensor
    margins: Tensor
    adversarial: Tensor

    @property
    def gain(self) -> Tensor:
        """How far the best iterate of an image came (N,), in parts of its spread of logits."""
        spread = (self.logits.amax(2) - self.logits.amin(2)).clamp(min=TINY)
        relative = self.margins / spread
        return relative.amax(0) - relative[0]

    @property
    def broken(self) -> int:
        """How many images some iterate broke."""
        return int((self.margins > 0).any(0).sum())


class Ascents(NamedTuple):
    """The same attack on two losses."""

    entropy: Ascent
    margin: Ascent


@torch.no_grad()
def ascend(given: ModelUnderTest) -> Ascents:
    """Return what a few steps of PGD do to the first images, on both losses. For `once`.

    Both run in one batch, which takes less time than two.
    """
    images, labels, threat_model = given.images[:IMAGES], given.labels[:IMAGES], given.threat_model
    size = threat_model.epsilon.value
    adversary = Adversary(
        epsilon=size, step_size=size / 4, steps=STEPS, norm=threat_model.norm, loss=_both
    )
    model, start = attacked(given), adversary.begin(images, noise(given, images))
    current, images, labels = (torch.cat([each, each]) for each in (start, images, labels))
    steps = []
    for _ in range(STEPS):
        current, _, logits = adversary.ascend(model, current, images, labels)
        steps.append(logits)
    logits = torch.stack([*steps, model(current)])
    margins = torch.stack([margin(step, labels) for step in logits])
    halves = zip(logits.chunk(2, 1), margins.chunk(2, 1), current.chunk(2), strict=True)
    return Ascents(*(Ascent(*half) for half in halves))


def _both(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of the first half of the images, the margin of the second."""
    (first, second), (own, others) = logits.chunk(2), labels.chunk(2)
    return torch.cat([cross_entropy(first, own), margin(second, others)])


@check(
    "loss-rises",
    kind="model",
    catches="gradients that lead nowhere",
    fails_if="after 7 PGD steps over 10 % of images were right at the start and are no closer to "
    "another class",
    needs=("gradient-path",),
)
def check_loss_rises(given: ModelUnderTest) -> Finding | Skipped:
    """PGD leads towards another class."""
    if not given.follows_gradients:
        return Skipped(NO_WAY)
    margins = given.once(ascend).entropy.margins
    right, n = margins[0] <= 0, margins.shape[1]
    falling = int((right & (margins[-1] <= margins[0])).sum())
    return (
        falling <= FALLING * n,
        f"After {STEPS} PGD steps {falling} of {n} images are no closer to another class",
        "the gradient leads nowhere, so that surviving it proves nothing; look for flat or "
        "false gradients",
    )


@check(
    "unbounded-attack",
    kind="model",
    catches="any masking, whatever its cause",
    fails_if="over 5 % of images survive when every pixel may take any value",
    needs=("gradient-path",),
)
@torch.no_grad()
def check_unbounded_attack(given: ModelUnderTest) -> Finding | Skipped:
    """PGD without a bound, from where that with one ended, breaks anything."""
    if not given.follows_gradients:
        return Skipped(NO_WAY)
    _, margins, adversarial = given.once(ascend).entropy
    left, n = (margins <= 0).all(0), margins.shape[1]
    free = Adversary(epsilon=1, step_size=FREE_STEP, steps=FREE_STEPS)
    images, labels = given.images[:IMAGES][left], given.labels[:IMAGES][left]
    few = int(STANDING * n)
    standing = _survivors(free, attacked(given), adversarial[left], images, labels, few)
    return (
        standing <= few,
        f"{'At most ' * (0 < standing <= few)}{standing} of {n} images survive an attack that may "
        "change every pixel at will",
        "no model is that robust, so the attack does not work; look for masked gradients",
    )


def _survivors(
    adversary: Adversary,
    model: nn.Module,
    current: Tensor,
    images: Tensor,
    labels: Tensor,
    few: int,
) -> int:
    """Return how many images stay right at every iterate from `current` on, or so few or less."""
    for _ in range(adversary.steps):
        if len(current) <= few:
            return len(current)
        moved, _, logits = adversary.ascend(model, current, images, labels)
        left = margin(logits, labels) <= 0
        current, images, labels = moved[left], images[left], labels[left]
    return int((margin(model(current), labels) <= 0).sum())
