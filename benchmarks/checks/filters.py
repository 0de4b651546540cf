"""Filters before the network, with true gradients or the gradient of leaving the image.

Many make a network weaker; then nothing is lifted, and the checks may say what they like.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.checks.changed import (
    COLUMN,
    ROW,
    Change,
    OfPixels,
    around,
    before,
    coarse_seeds,
    drawn,
    grey,
    median,
    of_images,
    off_grey_levels,
    straight_through,
)
from benchmarks.checks.data import SIDE, training_digits


def through(change: OfPixels) -> Change:
    """Return a filter with the gradient of leaving the image."""
    return before(lambda images: straight_through(images, change(images)))


def cosine_basis(n: int) -> Tensor:
    """Return the orthonormal basis (n, n) of the cosine transform."""
    k, i = torch.arange(n)[:, None], torch.arange(n)
    basis = torch.cos(torch.pi * (2 * i + 1) * k / (2 * n)) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis


def jpeg(coarseness: float) -> OfPixels:
    """Return a filter that rounds the cosine transform, high frequencies more than low ones."""
    basis = cosine_basis(SIDE)
    table = coarseness * (1 + (ROW + COLUMN) / 3) * 0.5

    def change(images: Tensor) -> Tensor:
        frequencies = basis @ images @ basis.T
        return (basis.T @ ((frequencies / table).round() * table) @ basis).clamp(0, 1)

    return change


def total_variation(images: Tensor, steps: int = 10, size: float = 0.05) -> Tensor:
    """Take gradient steps towards flat images that stay near the given ones."""

    def forward(values: Tensor, dim: int) -> Tensor:
        return torch.cat([values.diff(dim=dim), torch.zeros_like(values.narrow(dim, 0, 1))], dim)

    def divergence(values: Tensor, dim: int) -> Tensor:
        return values.diff(dim=dim, prepend=torch.zeros_like(values.narrow(dim, 0, 1)))

    smooth = images
    for _ in range(steps):
        across, down = forward(smooth, 3), forward(smooth, 2)
        pull = divergence(across / (across**2 + 1e-3).sqrt(), 3)
        pull = pull + divergence(down / (down**2 + 1e-3).sqrt(), 2)
        smooth = smooth + size * (pull + 0.5 * (images - smooth))
    return smooth


def bilateral(detach: bool) -> OfPixels:
    """Return a filter that averages neighbours that look alike, its weights detached or not."""

    def change(images: Tensor) -> Tensor:
        near = around(images)
        weights = torch.exp(-((near - images[..., None]) ** 2) / 0.02)
        weights = weights.detach() if detach else weights
        return (near * weights).sum(-1) / weights.sum(-1)

    return change


@torch.no_grad()
def half_of_nearest(images: Tensor) -> Tensor:
    """Return the mean of each image and the training image nearest to it."""
    known = training_digits()[0].flatten(1)
    nearest = known[torch.cdist(images.flatten(1), known).argmin(1)].view_as(images)
    return 0.5 * images + 0.5 * nearest


def noise(images: Tensor) -> Tensor:
    return images + 0.1 * drawn(images, torch.randn)


def shift(images: Tensor) -> Tensor:
    """Move an image to the right by a pixel or not, as its rounded content decides."""
    pairs = zip(images, coarse_seeds(images), strict=True)
    return torch.stack([image.roll(seed % 2, 2) for image, seed in pairs])


def drop(images: Tensor) -> Tensor:
    return images * (drawn(images, torch.rand) > 0.1)


def median_if_noisy(images: Tensor) -> Tensor:
    noisy = off_grey_levels(images).mean((1, 2, 3)) > 0.01
    return torch.where(of_images(noisy), straight_through(images, median(images)), images)


def snapped(images: Tensor) -> Tensor:
    """Bring pixels near a grey level of the data to it, without a gradient."""
    return torch.where(off_grey_levels(images) < 0.01, grey(images).detach(), images)


def blur(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)


def rounded(levels: int) -> OfPixels:
    return lambda images: (images * levels).round() / levels


FIRST = {
    "JPEG, straight through": through(jpeg(0.25)),
    "fine JPEG, straight through": through(jpeg(0.08)),
    "4 levels, straight through": through(rounded(3)),
    "total variation, straight through": through(total_variation),
    "total variation": before(total_variation),
    "a median": before(median),
    "a bilateral filter": before(bilateral(detach=False)),
    "a bilateral filter, its weights detached": before(bilateral(detach=True)),
    "fourth power of the pixels": before(lambda images: images**4),
    "root of the pixels": before(lambda images: (images + 1e-6).sqrt()),
    "half of the nearest training image, straight through": through(half_of_nearest),
    "pixels in float16": before(lambda images: images.half().float()),
    "noise drawn for each rounded image": before(noise),
    "a shift drawn for each rounded image": before(shift),
    "pixels dropped for each rounded image": before(drop),
    "a median of noisy images, straight through": before(median_if_noisy),
    "pixels near grey levels moved there": before(snapped),
}
SECOND = {
    "half of a blur, detached": before(lambda images: 0.5 * images + 0.5 * blur(images).detach()),
}
OTHER_DECISIONS = frozenset(
    {
        "total variation, straight through",
        "total variation",
        "a median",
        "fourth power of the pixels",
        "a shift drawn for each rounded image",
        "pixels dropped for each rounded image",
    }
)
