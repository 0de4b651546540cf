"""What a model must do with images before any attack: the same for the same, and only compute."""

from __future__ import annotations

import torch
from torch import Tensor

from robnet_zoo.eval.checks.logit_forms import unfit
from robnet_zoo.eval.checks.model import ModelUnderTest, in_train_mode
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

REPEATS = 2  # passes of the same images, beside the one with a gradient
TOLERANCE = 1e-4  # of the spread of an image's logits (largest minus smallest)


@check(
    "eval-mode",
    kind="model",
    catches="dropout or batch norm left in train mode while the model is in eval mode, or switched "
    "there by the forward pass",
    fails_if="any module is",
    after_all=True,
)
def check_modes(given: ModelUnderTest) -> Finding:
    """No module of a model in eval mode is in train mode, nor puts itself there."""
    training = [*given.training, *in_train_mode(given.model.model)]
    return (
        not training,
        f"{len(training)} modules are in train mode by themselves ({training[0]})"
        if training
        else "No module is in train mode by itself",
        "the harness judges all in eval mode, so this is not the model you use; call model.eval()",
    )


@check(
    "pixels",
    kind="model",
    catches="bytes, normalised pixels, images divided by 255 twice, blank images",
    fails_if="outside [0,1], constant (all of them, or over half of the images), the same image "
    "throughout, or none above 2/255",
)
def check_pixels(given: ModelUnderTest) -> Finding:
    """Images hold finite pixels in [0,1] that differ and use the range."""
    images = given.images
    low, high = float(images.min()), float(images.max())
    if not images.isfinite().all():
        remedy = "some are not finite numbers; repair the data"
    elif low < 0:
        remedy = "they look normalised; give them in [0,1] and normalise inside the model"
    elif high > 1:
        remedy = "they look like bytes; divide them by 255"
    elif low == high or _constant(images) > len(images) / 2:
        remedy = "these are no images; check how they are read"
    elif len(images) > 1 and bool((images == images[:1]).all()):
        remedy = "all of them are the same image; check how they are read"
    elif high <= 2 / 255:
        remedy = "they were probably divided by 255 twice, so that epsilon is huge; divide once"
    else:
        remedy = ""
    return not remedy, f"Pixels go from {low:.3g} to {high:.3g}", remedy


@check(
    "logits",
    kind="model",
    catches="probabilities, sigmoid or tanh outputs, normalised or clipped logits, a huge offset, "
    "low precision, NaN",
    fails_if="rows at least 0 with one sum; all in [0,1]; of one norm; over half of the rows end "
    "within 1 % of the same bounds; over 5 % of values occur twice; not finite, or coarser than "
    "float32",
)
def check_logits(given: ModelUnderTest) -> Finding:
    """The model returns finite logits in float32, not something made of them."""
    logits = given.logits
    kind = str(logits.dtype).removeprefix("torch.")
    low, high = float(logits.min()), float(logits.max())
    seen = f"The model returns {logits.shape[1]} {kind} values from {low:.3g} to {high:.3g}"
    remedy = unfit(logits)
    return remedy is None, seen, remedy or ""


@check(
    "deterministic",
    kind="model",
    catches="dropout that stays on, random layers, test-time augmentation, counters",
    fails_if="2 passes differ by over 1e-4 of the spread of an image's logits; with --draws, draws "
    "under the same seed do",
)
@torch.no_grad()
def check_deterministic(given: ModelUnderTest) -> Finding:
    """The model gives the same images the same logits each time, or draws by the seed."""
    model = given.model.plain()
    logits = given.plain_logits if given.adaptive.plain else model(given.images)
    apart = max(_difference(given, model(given.images), logits) for _ in range(REPEATS - 1))
    seen = f"Logits of {REPEATS} passes of the same images differ by {apart:.2g} of their spread"
    if given.adaptive.draws > 1:
        return _judge_draws(given, seen)
    return (
        apart <= TOLERANCE,
        seen,
        "the model is random, and one pass neither judges it nor shows where to go; judge it by "
        "draws (--draws 10) and average its gradients (--eot 10, or autoattack-rand), or remove "
        "the randomness",
    )


def _judge_draws(given: ModelUnderTest, seen: str) -> Finding:
    """Return whether a randomised model draws the same whenever its generators are seeded alike."""
    draws, rule = given.adaptive.draws, given.adaptive.decide
    first, second = (given.model.draw(given.images) for _ in range(2))
    return (
        _difference(given, first, second) <= TOLERANCE,
        f"{seen}, and the model is judged by the {rule} of {draws} draws",
        "the draws do not repeat with the seed, and so neither do the verdicts; draw from the "
        "global generators of torch, NumPy or Python",
    )


@check(
    "gradient-mode",
    kind="model",
    catches="a forward pass that looks whether a gradient is asked for",
    fails_if="the same, with a gradient and without",
    needs=("deterministic",),
)
def check_gradient_mode(given: ModelUnderTest) -> Finding:
    """The model gives an attack the logits by which it is judged."""
    difference = _difference(given, given.logits, given.plain_logits)
    return (
        difference <= TOLERANCE,
        f"Logits with a gradient and without differ by {difference:.2g} of their spread",
        "the model is another one while it is attacked; let the forward pass ask neither "
        "requires_grad nor is_grad_enabled",
    )


@check(
    "batch-independent",
    kind="model",
    catches="batch norm on batch statistics, anything else shared by a batch or tied to a place "
    "or size of it",
    fails_if="the same, in two unequal batches in reversed order",
    needs=("deterministic",),
)
@torch.no_grad()
def check_batch_independent(given: ModelUnderTest) -> Finding | Skipped:
    """An image's logits do not depend on the images beside it."""
    if given.adaptive.randomised:
        return Skipped("A randomised model draws otherwise for another batch")
    n = len(given.images)
    if n < 2:
        return Skipped("One image has no others beside it")
    few = max(1, n // 4)
    parts = [given.model(part) for part in given.images.flip(0).split([few, n - few])]
    difference = _difference(given, torch.cat(parts).flip(0), given.plain_logits)
    return (
        difference <= TOLERANCE,
        f"Logits in another batch differ by {difference:.2g} of their spread",
        "images influence one another, as with batch norm on batch statistics; use running "
        "statistics",
    )


@check(
    "plain-forward",
    kind="model",
    catches="defences that optimise while they predict",
    fails_if="the forward pass runs a backward operation",
)
def check_plain_forward(given: ModelUnderTest) -> Finding:
    """The forward pass computed no gradients of its own."""
    return (
        not given.backward_operations,
        f"The forward pass ran {given.backward_operations} backward operations",
        "a defence that adapts to its input needs an attack made for it, which none of these is",
    )


def _constant(images: Tensor) -> int:
    """Return how many images have one colour."""
    return int((images == images[:, :, :1, :1]).flatten(1).all(1).sum())


def _difference(given: ModelUnderTest, logits: Tensor, first: Tensor) -> float:
    """Return the largest difference in parts of the median spread; NaN is infinitely far."""
    difference = (logits - first).abs().amax() / given.spread.median()
    return float(difference.nan_to_num(nan=torch.inf))
