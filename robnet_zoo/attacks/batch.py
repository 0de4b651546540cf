"""Batches: what is handed to an attack, and what comes back.

The images that an attack has to meet, in data-set order, are cut into blocks of BLOCK_SIZE. Some
libraries draw one stream of random numbers for all images they are given: with blocks that are
always the same, so are their results, whatever the batch size, and whichever process does them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robnet_zoo.data import to_float
from robnet_zoo.runtime.errors import ZooError

BLOCK_SIZE = 256  # images
LIMIT = 2**32  # of seeds and batch sizes


@dataclass(frozen=True, kw_only=True)
class AttackBatch:
    """A block of images, which are attacked together.

    Attributes:
        number: position of the block among its attack's blocks.
        indices: positions of the images among all evaluated images (B,).
        images: (B, C, H, W) in [0,1], float32.
        labels: (B,).
        seed: the evaluation's seed.
        watch: called now and then with which images (B,) are still robust.
    """

    number: int
    indices: Tensor
    images: Tensor
    labels: Tensor
    seed: int
    watch: Callable[[Tensor], None] = lambda robust: None


@dataclass(frozen=True, kw_only=True)
class AttackOutput:
    """What an attack returns for a batch.

    Attributes:
        adversarial: the images to judge (B, C, H, W).
        robust_at_step: whether each image is robust at each iterate (steps + 1, B), over all
            restarts; row 0 is the start. Only attacks whose every iterate was judged fill it.
        complete: whether `robust_at_step` goes on behind an image's first broken iterate.
        first_broken: the iterate that first broke each image, the last one of all others
            (B, C, H, W), where iterates are judged.
        queries: forward passes spent on each image (B,), of attacks that count them.
        on_source: whether the model that a transferred image was made on still classifies it
            correctly (B,).
    """

    adversarial: Tensor
    robust_at_step: Tensor | None = None
    complete: bool = True
    first_broken: Tensor | None = None
    queries: Tensor | None = None
    on_source: Tensor | None = None


def to_pixels(images: Tensor, labels: Tensor) -> Tensor:
    """Return images (N, C, H, W), in [0,1] or uint8, as float32 pixels in [0,1].

    Raises:
        ZooError: they are no such images, or `labels` (N,) are not theirs.
    """
    if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels) or not len(labels):
        raise ZooError(
            "Data must be images (N, C, H, W) and labels (N,); these are "
            f"{list(images.shape)} and {list(labels.shape)}."
        )
    if not images.numel():
        raise ZooError(f"Images of shape {list(images.shape)} have no pixels.")
    if images.dtype == torch.uint8:
        return to_float(images)
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise ZooError(f"Images are {kind}; give uint8, or floats in [0,1].")
    if images.isnan().any():
        raise ZooError("Some pixels are not a number (NaN); repair the data.")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ZooError(
            f"Pixels must lie in [0,1] (or be uint8); these go from {images.min():.3g} to "
            f"{images.max():.3g}: scale them, and normalise inside the model."
        )
    return images.float()


def validate_numbers(seed: int, batch_size: int) -> None:
    """Raise ZooError if a seed or a batch size is out of range."""
    for what, value, least in (("batch size", batch_size, 1), ("seed", seed, 0)):
        if not isinstance(value, int):
            raise ZooError(f"The {what} {value} is no whole number.")
        if not least <= value < LIMIT:
            raise ZooError(
                f"The {what} {value} is out of range; it must lie from {least} to {LIMIT - 1:,}."
            )
