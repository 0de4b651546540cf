"""Batches: what is handed to an attack, and what comes back.

The images that an attack has to meet, in data-set order, are cut into blocks of BLOCK_SIZE. Some
libraries draw one stream of random numbers for all images they are given: with blocks that are
always the same, so are their results, whatever the batch size, and whichever process does them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robnet_zoo.data import to_float
from robnet_zoo.runtime.errors import ZooError, cause

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


def to_labels(labels: Any) -> Tensor:
    """Return classes (N,), a tensor, array or list of whole numbers, as int64; floats may be whole.

    Raises:
        ZooError: they are no classes.
    """
    try:
        known = labels if isinstance(labels, Tensor) else torch.as_tensor(np.asarray(labels))
    except (TypeError, ValueError) as error:
        raise ZooError(
            f"Labels cannot be a {type(labels).__name__} of this kind ({cause(error)}); give "
            "classes (N,), whole numbers from 0."
        ) from error
    validate_dense("Labels", known)
    if known.ndim != 1:
        rows = known.ndim == 2 and known.shape[1] > 1
        hint = ": of one-hot rows, labels.argmax(1)" if rows else ""
        hint = ": labels.flatten()" if known.shape[1:] == (1,) else hint
        raise ZooError(f"Labels have shape {list(known.shape)}; give classes (N,){hint}.")
    if known.is_complex() or known.dtype == torch.bool:
        raise ZooError(f"Labels are {_kind(known)}; give classes (N,) as whole numbers.")
    if known.is_floating_point():
        wrong = known[~(known.isfinite() & (known == known.round()))]
        if len(wrong):
            raise ZooError(f"Label {wrong[0]:g} is no class; give whole numbers from 0.")
    return known.long()


def to_pixels(images: Tensor, labels: Tensor) -> Tensor:
    """Return images (N, C, H, W), in [0,1] or uint8, as float32 pixels in [0,1], without a graph.

    Raises:
        ZooError: they are no such images, or `labels` (N,) are not theirs.
    """
    if not isinstance(images, Tensor):
        raise ZooError(
            f"Images cannot be a {type(images).__name__}; give a tensor (N, C, H, W), such as "
            "torch.stack of a list or torch.from_numpy of an array."
        )
    validate_dense("Images", images)
    images = images.detach()
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
        raise ZooError(f"Images are {_kind(images)}; give uint8, or floats in [0,1].")
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
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ZooError(f"The {what} {value} is no whole number.")
        if not isinstance(value, int):
            raise ZooError(f"The {what} is a {type(value).__name__}; give int({value}).")
        if not least <= value < LIMIT:
            raise ZooError(
                f"The {what} {value} is out of range; it must lie from {least} to {LIMIT - 1:,}."
            )


def validate_dense(what: str, tensor: Tensor) -> None:
    """Raise ZooError for a sparse tensor, or one of the meta device; `what` begins the sentence."""
    if tensor.is_meta or tensor.layout != torch.strided:
        kind = "on the meta device, without values" if tensor.is_meta else "a sparse tensor"
        raise ZooError(f"{what} are {kind}; give a plain tensor.")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
