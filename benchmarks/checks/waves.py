"""Waves, steps and contrasts on the pixels, whose gradient is true and of little use."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.checks.changed import Change, before
from benchmarks.checks.data import SIDE


def wave(size: float, frequency: float, shape: Callable[[Tensor], Tensor] = torch.sin) -> Change:
    return before(lambda images: images + size * shape(frequency * images))


def steps(count: int, slope: float) -> Change:
    """Return a change that rounds pixels, with a slope between the steps."""

    def change(images: Tensor) -> Tensor:
        rounded = (images * count).round() / count
        return rounded + slope * (images - rounded)

    return before(change)


def contrast(slope: float) -> Change:
    """Return a change that draws grey pixels to black and white."""
    half = slope / 2
    return before(lambda images: 0.5 + 0.5 * torch.tanh(slope * (images - 0.5)) / math.tanh(half))


def sigmoid_steps(slope: float) -> Change:
    """Return a change that brings pixels to one of nine levels, along steep sigmoids."""
    middles = (torch.arange(8) + 0.5) / 8
    return before(
        lambda images: torch.sigmoid(slope * (images[..., None] - middles)).sum(-1) / len(middles)
    )


def triangle(values: Tensor) -> Tensor:
    """Return triangle waves from 0 to 1/2 with a period of 1."""
    return (values % 1 - 0.5).abs()


def slanted_steps(images: Tensor) -> Tensor:
    return (images * 12).floor() / 12 + 0.1 * (images * 12 % 1) / 12


def random_features(images: Tensor) -> Tensor:
    """Add waves along 64 random directions."""
    generator = torch.Generator().manual_seed(8)
    directions = torch.randn(SIDE * SIDE, SIDE * SIDE, generator=generator) / SIDE
    waves = torch.sin(80 * (images.flatten(1) @ directions))
    return images + 0.02 * waves.view_as(images)


FIRST = {
    "waves of 0.01, sin(1000 x), on pixels": wave(0.01, 1000),
    "waves of 0.02, sin(300 x), on pixels": wave(0.02, 300),
    "waves of 0.03, sin(60 x), on pixels": wave(0.03, 60),
    "17 levels with slopes against the steps": steps(16, -0.5),
    "65 levels with slopes against the steps": steps(64, -0.5),
    "9 levels with slopes against the steps": steps(8, -0.5),
    "17 levels with slight slopes": steps(16, 0.02),
    "a sharp contrast": contrast(8),
    "9 levels along sigmoids": sigmoid_steps(100),
    "9 soft levels": before(
        lambda images: images - 0.9 * torch.sin(2 * torch.pi * 8 * images) / (2 * torch.pi * 8)
    ),
}
SECOND = {
    "triangle waves on pixels": before(lambda images: images + 0.2 * triangle(50 * images) - 0.05),
    "waves of 0.02, cos(100 x), on pixels": wave(0.02, 100, torch.cos),
    "waves of 0.004, sin(2000 x), on pixels": wave(0.004, 2000),
    "waves of the sum of all pixels": before(
        lambda images: images + 0.02 * torch.sin(50 * images.sum((2, 3), keepdim=True))
    ),
    "waves of the sums of rows": before(
        lambda images: images + 0.03 * torch.sin(40 * images.sum(3, keepdim=True))
    ),
    "13 levels with slight slopes": before(slanted_steps),
    "waves along random directions": before(random_features),
    "a slight contrast": contrast(3),
    "9 levels along steeper sigmoids": sigmoid_steps(300),
}
OTHER_DECISIONS: frozenset[str] = frozenset()
