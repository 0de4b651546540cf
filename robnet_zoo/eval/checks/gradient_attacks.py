"""Small attacks along the gradient that any honest model gives way to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.pgd import TINY, Adversary, margin
from robnet_zoo.eval.checks.gradients import NO_WAY, noise
from robnet_zoo.eval.checks.model import ModelUnderTest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

IMAGES = 32  # that the attacks meet
STEPS = 7  # of epsilon / 4, as in the papers' training
FALLING = 0.1  # of the images may be no closer to another class than at the start
FREE_STEPS, FREE_STEP = 10, 0.2  # of the pixel range: twice across it
MISSED = 0.125  # of the images may be broken on the margin alone
GAINED = 0.9  # of the margin's gain that flat logits must leave to the cross-entropy
FLAT = 0.4  # of the accuracy: a softmax less confident than this was not trained so
FULL = 0.25  # of the images may have a softmax of 1 and gain less than half
STANDING = 0.05  # of the images may survive an attack without a bound


class _Ascent(NamedTuple):
    """What PGD did: logits (steps + 1, N, classes) from the start on, the last iterate (N, ...)."""

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
        return int((self.margins > 0).any(0).sum())


def _ascend(given: ModelUnderTest) -> _Ascent:
    """Return what a few steps of PGD on the cross-entropy do to the first images."""
    return _ascent(given, "ce")


@torch.no_grad()
def _ascent(given: ModelUnderTest, loss: str) -> _Ascent:
    images, labels, threat_model = given.images[:IMAGES], given.labels[:IMAGES], given.threat_model
    size = threat_model.epsilon.value
    adversary = Adversary(
        epsilon=size, step_size=size / 4, steps=STEPS, norm=threat_model.norm, loss=loss
    )
    current = adversary.begin(images, noise(given, images))
    steps = []
    for _ in range(STEPS):
        current, _, logits = adversary.ascend(given.model, current, images, labels)
        steps.append(logits)
    logits = torch.stack([*steps, given.model(current)])
    margins = torch.stack([margin(step, labels) for step in logits])
    return _Ascent(logits, margins, current)


@check(
    "loss-rises",
    kind="model",
    catches="gradients that lead nowhere",
    fails_if="after 7 PGD steps over 10 % of images are no closer to another class",
    needs=("gradient-path",),
)
def check_loss_rises(given: ModelUnderTest) -> Finding | Skipped:
    """PGD leads towards another class."""
    if not given.follows_gradients:
        return Skipped(NO_WAY)
    margins = given.once(_ascend).margins
    falling, n = int((margins[-1] <= margins[0]).sum()), margins.shape[1]
    return (
        falling <= FALLING * n,
        f"After {STEPS} PGD steps {falling} of {n} images are no closer to another class",
        "the gradient leads nowhere, so that surviving it proves nothing; look for flat or "
        "false gradients",
    )


@check(
    "logit-scale",
    kind="model",
    catches="logits divided or multiplied by a number, a temperature that depends on the image",
    fails_if="7 PGD steps on the margin break over 12.5 % of images more than on the "
    "cross-entropy; or the cross-entropy gains less than 0.9 as much (median) while the softmax "
    "is under 0.4 as confident as right, or less than half on over 25 % of images while it rounds "
    "to 1 on as many",
    needs=("gradient-path",),
)
def check_logit_scale(given: ModelUnderTest) -> Finding | Skipped:
    """Attacks on the cross-entropy get as far as attacks on the margin, which has no scale."""
    if not given.follows_gradients:
        return Skipped(NO_WAY)
    entropy, other = given.once(_ascend), _ascent(given, "margin")
    ratio = entropy.gain / torch.maximum(other.gain, entropy.gain).clamp(min=TINY)
    n, missed = len(ratio), other.broken - entropy.broken
    sure = given.logits.double().softmax(1)
    own = sure.gather(1, given.labels[:, None])[:, 0]
    right = float((given.logits.argmax(1) == given.labels).float().mean())
    flat = float(sure.amax(1).mean()) < FLAT * right
    full = float((1 - own < torch.finfo(torch.float32).eps / 2).float().mean()) > FULL
    behind = float(ratio.median()), float((ratio < 0.5).float().mean())
    if flat:
        remedy = (
            "the logits are so close together that the softmax pulls at all classes alike; return "
            "them as they were before they were divided or normalised"
        )
    elif full:
        remedy = (
            "the logits are so far apart that the softmax rounds to 1; return them as they were "
            "before they were multiplied"
        )
    else:
        remedy = "something bends the logits, such as a temperature that depends on the image"
    return (
        missed <= MISSED * n
        and not (flat and behind[0] < GAINED)
        and not (full and behind[1] > FULL),
        f"{STEPS} PGD steps on the margin break {other.broken} of {n} images, on the "
        f"cross-entropy {entropy.broken}, which gains {behind[0]:.2f} as much (median)",
        f"{remedy}, or trust attacks on the margin (apgd-t, fab-t) alone",
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
    _, margins, adversarial = given.once(_ascend)
    left, n = (margins <= 0).all(0), margins.shape[1]
    free = Adversary(epsilon=1, step_size=FREE_STEP, steps=FREE_STEPS)
    images, labels = given.images[:IMAGES][left], given.labels[:IMAGES][left]
    standing = _survivors(free, given.model, adversarial[left], images, labels)
    return (
        standing <= STANDING * n,
        f"{standing} of {n} images survive an attack that may change every pixel at will",
        "no model is that robust, so the attack does not work; look for masked gradients",
    )


def _survivors(
    adversary: Adversary, model: nn.Module, current: Tensor, images: Tensor, labels: Tensor
) -> int:
    """Return how many images stay right at every iterate from `current` on."""
    for _ in range(adversary.steps):
        if not len(current):
            return 0
        moved, _, logits = adversary.ascend(model, current, images, labels)
        left = margin(logits, labels) <= 0
        current, images, labels = moved[left], images[left], labels[left]
    return int((margin(model(current), labels) <= 0).sum()) if len(current) else 0
