"""Whether the gradient is whole: along directions that move every pixel, the loss must follow it.

Where a part of the gradient is missing (detached pixels, a blur that alone is differentiable, a
member of an ensemble under `no_grad`), attacks lose that part of their way. The strongest pixels
of the gradient that is left show nothing of it; random directions do, since the loss also changes
with what the gradient does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.eval.checks.forms import attacked
from robnet_zoo.eval.checks.gradients import noise
from robnet_zoo.eval.checks.model import ModelUnderTest, margin_gradient
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

IMAGES = 32  # that move
LENGTHS = (1e-4, 5e-4, 2.5e-3)  # of a step in a pixel; one that float32 resolves must agree
RESOLVED = 10  # float errors that a change must have to be judged
OFF = 0.1  # of the change that the gradient may leave open
OFF_BOUND = 0.3  # the same for pixels at a bound, which may be few and weak
MATTERS = 0.2  # of the change along the directions before, below which others do not matter
WRONG = 0.25  # of the images may be further off
ENOUGH = 0.125  # of the images that float32 must resolve
REACH = 8 / 255  # from 0 and 1: pixels that attacks put onto the bound
COARSE = 3  # points a side, between which smooth directions are interpolated


class _Start(NamedTuple):
    """Images where an attack might be, their labels and logits, the margin's gradient, bounds."""

    images: Tensor
    labels: Tensor
    logits: Tensor
    gradient: Tensor
    at_bound: Tensor


class _Misfit(NamedTuple):
    """How far the loss and the gradient lie apart.

    Attributes:
        off: in parts of the change, of the images where float32 resolves it.
        allowed: parts from which an image is wrong.
        rate: change for a step of length 1 (N,), as far as it was seen.
    """

    off: Tensor
    allowed: float
    rate: Tensor

    @property
    def enough(self) -> bool:
        return len(self.off) >= ENOUGH * len(self.rate)

    @property
    def wrong(self) -> int:
        return int((self.off > self.allowed).sum())

    @property
    def seen(self) -> str:
        return (
            f"the loss moves {100 * float(self.off.median()):.1f} % off what the gradient "
            f"promises (median), and more than {100 * self.allowed:.0f} % on {self.wrong} of "
            f"{len(self.off)} images"
        )

    @property
    def fails(self) -> bool:
        return self.wrong > WRONG * len(self.off)


def _start(given: ModelUnderTest) -> _Start:
    """Go to the random start of an attack, and put all pixels that are near a bound onto it."""
    size = given.threat_model.epsilon.value
    adversary = Adversary(epsilon=size, step_size=size, steps=1, norm=given.threat_model.norm)
    images, labels = given.images[:IMAGES], given.labels[:IMAGES]
    images = adversary.begin(images, noise(given, images))
    images = torch.where(images <= REACH, 0.0, torch.where(images >= 1 - REACH, 1.0, images))
    logits, gradient = margin_gradient(attacked(given), images, labels)
    return _Start(images, labels, logits, gradient, (images == 0) | (images == 1))


@check(
    "whole-gradient",
    kind="model",
    catches="parts of the image, of its frequencies or of an ensemble that are detached; blurred, "
    "clipped or false gradients",
    fails_if="on over 25 % of images the margin moves by over 10 % off what the gradient promises, "
    "along random, smooth or fine directions in which all pixels move",
    needs=("deterministic", "gradient-path"),
)
def check_whole_gradient(given: ModelUnderTest) -> Finding | Skipped:
    """The margin moves as the gradient promises along directions in which all pixels move.

    Every image takes the shortest step that float32 resolves and that agrees; at no length does
    a missing part of the gradient agree.
    """
    start = given.once(_start)
    if not start.gradient.isfinite().all():
        return Skipped("Not all gradients are finite")
    misfits: dict[str, _Misfit] = {}
    floor = start.logits.new_zeros(len(start.images))
    for name, directions in _directions(start.images).items():
        inside = [~start.at_bound * direction for direction in directions]
        misfit = _misfit(given, start, inside, allowed=OFF, floor=floor)
        floor = torch.maximum(misfit.rate * MATTERS, floor)
        if misfit.enough:
            misfits[name] = misfit
    if not misfits:
        return Skipped("The loss moves too little for float32")
    name, worst = max(misfits.items(), key=lambda item: (item[1].fails, float(item[1].off.mean())))
    return given.judge_gradient(
        not any(misfit.fails for misfit in misfits.values()),
        f"Along {name} directions {worst.seen}",
        f"{_missing(start)}look for detach, no_grad (around a filter, or a member of an ensemble), "
        "hooks and backward passes of your own; attack a surrogate with the whole gradient",
    )


@check(
    "bound-gradient",
    kind="model",
    catches="clamp, relu or hardtanh on the pixels, which pass no gradient at 0 and 1 themselves",
    fails_if="the same, for pixels at exactly 0 or 1 that move inwards",
    needs=("whole-gradient",),
)
def check_bound_gradient(given: ModelUnderTest) -> Finding | Skipped:
    """The gradient is whole also for pixels at exactly 0 or 1, where attacks put many."""
    start = given.once(_start)
    if not start.at_bound.any():
        return Skipped("No pixel is at 0 or 1")
    inwards = start.at_bound * (1 - 2 * start.images)
    draw = torch.Generator().manual_seed(0)
    lengths = torch.rand((2, *start.images.shape[1:]), generator=draw).to(start.images)
    directions = [inwards * length for length in lengths]
    misfit = _misfit(given, start, directions, allowed=OFF_BOUND)
    if not misfit.enough:
        return Skipped("The pixels at 0 or 1 move the loss too little for float32")
    return given.judge_gradient(
        not misfit.fails,
        f"When pixels at exactly 0 or 1 move inwards, {misfit.seen}",
        "clamp(0, 1), relu and hardtanh give such pixels no gradient, and attacks leave them "
        "where they are; pixels lie in [0,1] anyway, so take it out of the forward pass, or "
        "attack a surrogate without it",
    )


@torch.no_grad()
def _misfit(
    given: ModelUnderTest,
    start: _Start,
    directions: Sequence[Tensor],
    *,
    allowed: float,
    floor: Tensor | None = None,
) -> _Misfit:
    """Return how far change and promise are apart, at the length that suits each image best.

    Args:
        given: what is checked.
        start: where the directions start from.
        directions: each (N, C, H, W), for a step of length 1.
        allowed: parts of the change from which an image needs no longer step.
        floor: change for a step of length 1 (N,) below which directions do not matter; 0 if None.
    """
    model, n = attacked(given), len(start.images)
    before = margin(start.logits, start.labels)
    off, rate = before.new_full((n,), torch.inf), before.new_zeros(n)
    floor = torch.zeros_like(rate) if floor is None else floor
    left = torch.arange(n, device=before.device)
    for length in LENGTHS:
        images = start.images[left]
        moved = [(images + length * direction[left]).clamp(0, 1) for direction in directions]
        after = margin(model(torch.cat(moved)).to(before), start.labels[left].repeat(len(moved)))
        change = after.view(len(moved), -1) - before[left]
        steps = (torch.stack(moved) - images) * start.gradient[left]
        promise = steps.flatten(2).sum(2)
        size = torch.maximum(change.norm(dim=0), promise.norm(dim=0)).nan_to_num()
        size = torch.maximum(size, length * floor[left])
        clear = size > RESOLVED * given.float_error[left]
        apart = torch.where(clear, (change - promise).norm(dim=0) / size, torch.inf)
        rate[left] = torch.maximum(rate[left], size / length)
        off[left] = torch.fmin(off[left], apart)
        left = left[off[left] > allowed]
        if len(left) <= WRONG * n:
            break
    return _Misfit(off[off.isfinite()], allowed, rate)


def _directions(images: Tensor) -> dict[str, list[Tensor]]:
    """Return directions of every kind (N, C, H, W), whose pixels are of size 1 or about 1."""
    n, channels, height, width = images.shape
    draw = torch.Generator().manual_seed(0)

    def signs(*shape: int) -> Tensor:
        return (2 * torch.randint(0, 2, shape, generator=draw) - 1).to(images)

    def normal() -> Tensor:
        coarse = torch.randn(n, channels, COARSE, COARSE, generator=draw).to(images)
        return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)

    def patches() -> Tensor:
        return F.interpolate(signs(n, channels, COARSE, COARSE), (height, width))

    across, down = torch.arange(width), torch.arange(height)[:, None]
    checkerboard = (2 * ((across + down) % 2) - 1).to(images)
    return {
        "random": [signs(*images.shape), signs(*images.shape)],
        "smooth": [normal(), normal()],
        "fine": [checkerboard * patches(), checkerboard * patches()],
    }


def _missing(start: _Start) -> str:
    """Return which part of the pixels has no gradient in any image, as the start of a remedy."""
    none = (start.gradient == 0).all(0)
    part = float(none.float().mean())
    if not 0 < part < 1:
        return ""
    return f"{100 * part:.0f} % of the pixels have no gradient in any image; "
