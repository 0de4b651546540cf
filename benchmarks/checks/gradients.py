"""Gradients by the pixels that lack a part or are false; no value changes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.checks.changed import (
    COLUMN,
    ROW,
    Change,
    OfGradients,
    before,
    chances,
    coarse_seeds,
    detached,
    drawn,
    false_gradient,
    mirrored,
    of_images,
    off_grey_levels,
    seeds,
)
from benchmarks.checks.data import SIDE
from benchmarks.checks.fixed import SIGNS

CHECK_BATCH = 64  # images at most that the checks of the model see together


def hidden(mask: Callable[[Tensor], Tensor]) -> Change:
    """Return a change that detaches pixels, chosen by the images."""
    return before(lambda images: detached(mask(images), images))


def hooked(change: OfGradients) -> Change:
    return before(false_gradient(change))


def false_where(
    condition: Callable[[Tensor], Tensor], falsify: Callable[[Tensor], Tensor] = mirrored
) -> Change:
    """Return a change of the gradient of some images, chosen by their pixels."""
    return before(lambda images: torch.where(of_images(condition(images)), falsify(images), images))


def on_grey_levels(images: Tensor) -> Tensor:
    return (off_grey_levels(images) < 1e-6).flatten(1).all(1)


def averaged_in_blocks(gradient: Tensor) -> Tensor:
    return F.interpolate(F.avg_pool2d(gradient, 2), scale_factor=2)


def permuted_in_blocks(gradient: Tensor) -> Tensor:
    """Turn every block of 2x2 pixels around."""
    half = SIDE // 2
    return gradient.view(-1, 1, half, 2, half, 2).flip(3, 5).reshape(gradient.shape)


def noisy(gradient: Tensor) -> Tensor:
    """Add noise as large as the gradient, which the gradient decides."""
    generator = torch.Generator().manual_seed(int(gradient.abs().sum() * 1e6) % 2**31)
    return gradient + 1.5 * gradient.std() * torch.randn(gradient.shape, generator=generator)


class FalseAfter(nn.Module):
    """A network whose gradient is false after so many passes that ask for one."""

    def __init__(self, network: nn.Module, passes: int) -> None:
        super().__init__()
        self.network, self.left = network, passes

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        if torch.is_grad_enabled() and images.requires_grad:
            self.left -= 1
        return self.network(mirrored(images) if self.left < 0 else images)


FIRST: dict[str, Change] = {
    "bright pixels detached": hidden(lambda images: images > 0.5),
    "dark pixels detached": hidden(lambda images: images < 0.3),
    "pixels detached, drawn for each image": hidden(
        lambda images: drawn(images, torch.rand, seeds) < 0.4
    ),
    "pixels detached at random": hidden(lambda images: torch.rand_like(images) < 0.5),
    "3x3 pixels detached": hidden(
        lambda images: (ROW > 2) & (ROW < 6) & (COLUMN > 2) & (COLUMN < 6)
    ),
    "a column detached": hidden(lambda images: COLUMN == 3),
    "pixels off grey levels detached": hidden(lambda images: off_grey_levels(images) >= 0.015),
    "the gradient's sign flipped on some pixels": hooked(lambda gradient: gradient * SIGNS),
    "the gradient turned in blocks of 2x2": hooked(permuted_in_blocks),
    "the gradient averaged in blocks of 2x2": hooked(averaged_in_blocks),
    "a false gradient off grey levels": false_where(lambda images: ~on_grey_levels(images)),
    "a false gradient on grey levels": false_where(on_grey_levels),
    "a reversed gradient on a fifth of all images": false_where(
        lambda images: chances(images, coarse_seeds) < 0.2,
        false_gradient(lambda gradient: -gradient),
    ),
    "a false gradient on bright images": false_where(lambda images: images.mean((1, 2, 3)) > 0.315),
    "a false gradient in batches over 64": before(
        lambda images: mirrored(images) if len(images) > CHECK_BATCH else images
    ),
    "a false gradient after 40 passes": lambda network: FalseAfter(network, 40).eval(),
    "a false gradient after 5 passes": lambda network: FalseAfter(network, 5).eval(),
}
SECOND: dict[str, Change] = {
    "the gradient averaged over rows": hooked(
        lambda gradient: gradient.mean(3, keepdim=True).expand_as(gradient)
    ),
    "three rows detached": hidden(lambda images: ROW < 3),
    "noise on the gradient": hooked(noisy),
    "the gradient squared": hooked(lambda gradient: 100 * gradient * gradient.abs()),
}
OTHER_DECISIONS: frozenset[str] = frozenset()
