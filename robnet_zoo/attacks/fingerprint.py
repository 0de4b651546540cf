"""The fingerprint of a model's function: what it does to a few images, in a few numbers.

Parameters do not make a function: the same ones may stand behind another forward pass, or another
backward pass. So logits and input gradients are looked at as well.
"""

from __future__ import annotations

import math

import torch
from msgspec import Struct
from torch import Tensor, nn

from robnet_zoo.attacks.calling import explained
from robnet_zoo.attacks.model import BATCH_MULTIPLE, AttackedModel, preserve_state
from robnet_zoo.runtime.errors import ZooError

IMAGES = 8
DIRECTIONS = 4  # random ones, along which logits and gradients are measured
ROUGHNESS = 0.1
SEED = 2001  # of the directions, and of models that draw
LOGITS_OFF = 1e-3  # of the spread of an image's logits: 100 times what float32 causes
GRADIENTS_OFF = 0.03  # of the gradient's length
DIGITS = 6

Numbers = tuple[float | None, ...]  # None where a number is not finite


class Fingerprint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model does to up to 8 images: five numbers an image, for logits and for gradients.

    Attributes:
        logits: the logits' standard deviation, then their products with fixed random directions.
        gradients: the length of the gradient of the first such product by the image, then its own
            products with fixed random directions; empty where no gradient flows.
    """

    logits: tuple[Numbers, ...]
    gradients: tuple[Numbers, ...] = ()

    def matches(self, other: Fingerprint) -> bool:
        """Return whether both are of one function, as far as float32 can tell.

        A ReLU at zero may fall to either side on another machine: one image in four may have
        another gradient.
        """
        if len(self.logits) != len(other.logits):
            return False
        logits, gradients = self.differing(other)
        return not logits and gradients <= len(self.gradients) // 4

    def differing(self, other: Fingerprint) -> tuple[int, int]:
        """Return of how many of the same images logits and gradients differ.

        Where gradients flow in one of the two alone, all differ.
        """
        ours, theirs = self.gradients, other.gradients
        return (
            _differing(self.logits, other.logits, LOGITS_OFF),
            _differing(ours, theirs, GRADIENTS_OFF)
            if len(ours) == len(theirs)
            else len(self.logits),
        )


def function_fingerprint(model: nn.Module, images: Tensor) -> Fingerprint:
    """Return the fingerprint of a model's function, from one small pass in each direction.

    Args:
        model: from images to logits (N, classes).
        images: (N, C, H, W) with pixels in [0,1], on the model's device; the first 8 are used.

    Raises:
        ZooError: the model returns no logits or fails, or memory does not hold one small batch.
    """
    try:
        return fingerprint_in_batch(AttackedModel(model, BATCH_MULTIPLE), images[:IMAGES])
    except torch.OutOfMemoryError as error:
        raise ZooError(
            f"The GPU has too little memory for {BATCH_MULTIPLE} images; use device cpu."
        ) from error


def fingerprint_in_batch(model: AttackedModel, images: Tensor) -> Fingerprint:
    """Return the fingerprint by the first 8 images, in one batch with all the others.

    The model is in eval mode meanwhile and the global generators are seeded, so that a model that
    draws from them has a fingerprint too.

    Args:
        model: as attacks see it.
        images: (N, C, H, W) with pixels in [0,1], on the model's device.

    Raises:
        ZooError: the model returns no logits or fails.
    """
    with preserve_state(model.model, SEED), torch.enable_grad():
        leaf = _roughened(images[:IMAGES].detach()).requires_grad_()
        with explained(f"take images of shape {list(leaf.shape)}"):
            logits = model(torch.cat([leaf, images[IMAGES:].detach()]))[:IMAGES]
        along = logits.double() @ _directions(logits[0]).T
        gradients = _gradients(along[:, 0], leaf)
    logits = logits.detach().double()
    measured = torch.cat([logits.std(1, correction=0)[:, None], along.detach()], 1)
    return Fingerprint(logits=_numbers(measured), gradients=gradients)


def _roughened(images: Tensor) -> Tensor:
    """Mix in a tenth of noise: on blank areas ReLU and pooling meet ties, broken anyhow."""
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.rand(images.shape, generator=generator).to(images.device)
    return torch.lerp(images, noise, ROUGHNESS)


def _gradients(values: Tensor, images: Tensor) -> tuple[Numbers, ...]:
    if not values.requires_grad:
        return ()
    try:
        (gradient,) = torch.autograd.grad(values.sum(), images, allow_unused=True)
    except RuntimeError:  # of a backward pass that is not defined
        return ()
    if gradient is None:
        return ()
    flat = gradient.flatten(1).double()
    return _numbers(torch.cat([flat.norm(dim=1)[:, None], flat @ _directions(flat[0]).T], 1))


def _directions(like: Tensor) -> Tensor:
    """Return random directions (DIRECTIONS, size), the same on every machine."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(DIRECTIONS, like.numel(), generator=generator, dtype=torch.float64)
    return drawn.to(like.device)


def _numbers(rows: Tensor) -> tuple[Numbers, ...]:
    return tuple(tuple(map(_rounded, row)) for row in rows.tolist())


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _differing(rows: tuple[Numbers, ...], others: tuple[Numbers, ...], tolerance: float) -> int:
    return [_close(*pair, tolerance) for pair in zip(rows, others, strict=True)].count(False)


def _close(first: Numbers, second: Numbers, tolerance: float) -> bool:
    """Return whether two rows differ by no more than a part of their first number, their size."""
    if len(first) != len(second):
        return False
    size = max((row[0] or 0.0 for row in (first, second)), default=0.0)
    return all(
        a == b or (a is not None and b is not None and abs(a - b) <= tolerance * size)
        for a, b in zip(first, second, strict=True)
    )
