"""Whether the gradient that attacks follow exists, is true, and leads anywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.norms import TINY
from robnet_zoo.eval.checks.model import ModelUnderTest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

LOST = 0.05  # of the images may have no gradient
NUDGE = 2e-4  # of the pixel range: well within one grey level of 255
PIXELS = 32  # nudged in each image, at most an eighth of them
RESOLVED = 40  # float errors that a change must have: below, they spoil it by 10 % or more
UNTRUE = 0.25  # of the images may have a loss that does something else than the gradient says
NO_WAY = "There are no gradients to follow, or no second class to reach"


@check(
    "gradient-path",
    kind="model",
    catches="`no_grad`, `detach`, NumPy in the forward pass",
    fails_if="the output does not depend on the image for autograd",
)
def check_gradient_path(given: ModelUnderTest) -> Finding:
    """The logits are connected to the image, so that gradients can be had at all."""
    connected = given.gradients is not None
    seen = "Gradients flow" if connected else "No gradient flows"
    return (
        connected,
        f"{seen} from the logits to the image",
        "no white-box attack can work; take no_grad, detach and NumPy out of the forward pass",
    )


@check(
    "input-gradients",
    kind="model",
    catches="rounding, thresholds, a softmax saturated in float32, NaN",
    fails_if="any gradient not finite, or over 5 % of images without one",
    needs=("gradient-path",),
)
def check_input_gradients(given: ModelUnderTest) -> Finding | None:
    """Gradients of both losses are finite, and vanish on hardly any image."""
    if given.gradients is None:
        return None
    n = len(given.images)
    sizes = [gradient.flatten(1).abs().amax(1) for gradient in given.gradients]
    broken = int((~(sizes[0].isfinite() & sizes[1].isfinite())).sum())
    if broken:
        seen = f"Gradients are not finite on {broken} of {n} images"
        return False, seen, "look for a root, norm or division that meets 0"
    entropy, other = (int((size < TINY).sum()) for size in sizes)
    remedy = (
        "a step in the model is flat (rounding, a threshold); attack with a smooth step in its "
        "place, or trust square alone"
        if other > LOST * n
        else "the softmax saturates in float32; trust attacks on the margin (apgd-t, fab-t) alone"
    )
    return (
        max(entropy, other) <= LOST * n,
        f"Gradients of the cross-entropy vanish on {entropy} of {n} images, of the margin on "
        f"{other}",
        remedy,
    )


@check(
    "true-gradient",
    kind="model",
    catches="rounded pixels behind a straight-through gradient, a custom backward",
    fails_if="on over 25 % of images the margin rises by less than half or more than twice what "
    "the gradient promises",
    needs=("deterministic", "gradient-path"),
)
@torch.no_grad()
def check_true_gradient(given: ModelUnderTest) -> Finding | Skipped:
    """The margin rises as its gradient says when a few pixels change a little.

    Few pixels, because rounding averages out over many. Images whose change float32 could not
    resolve are not judged.
    """
    if given.gradients is None or not given.gradients[1].isfinite().all():
        return Skipped("Not all gradients are finite")
    images, labels, gradient = given.images, given.labels, given.gradients[1]
    up = gradient.sign()
    free = ((up > 0) & (images <= 1 - NUDGE)) | ((up < 0) & (images >= NUDGE))
    strength = (gradient.abs() * free).flatten(1)
    strongest = strength.topk(min(PIXELS, max(1, strength.shape[1] // 8)))
    chosen = torch.zeros_like(strength).scatter_(1, strongest.indices, NUDGE).view_as(images)
    moved = given.model(images + chosen * up * free)
    predicted = NUDGE * strongest.values.sum(1)
    clear = predicted > RESOLVED * given.float_error
    if not clear.any():
        return Skipped("The gradients are too small for float32 to follow")
    ratio = ((margin(moved, labels) - margin(given.logits, labels)) / predicted)[clear]
    untrue = int(((ratio < 0.5) | (ratio > 2)).sum())
    return given.judge_gradient(
        untrue <= UNTRUE * len(ratio),
        f"Where the gradient promises 1 the loss rises by {float(ratio.median()):.2f} (median), "
        f"and by less than half or more than twice as much on {untrue} of {len(ratio)} images",
        "the gradient is not that of the model (rounded pixels, straight-through, a custom "
        "backward); add square to the attacks",
    )


def noise(given: ModelUnderTest, images: Tensor, *, draw: int = 0) -> Tensor:
    """Return unit noise for images (N, C, H, W), the same whenever the seed is."""
    drawn = noise_for(
        range(len(images)),
        images.shape[1:],
        seed=given.seed,
        attack="check",
        restart=draw,
        norm=given.threat_model.norm,
    )
    return drawn.to(images.device)
