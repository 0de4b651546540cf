"""What a model must do with images before any attack: the same for the same, and only compute."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from robnet_zoo.eval.checks.finding import finding
from robnet_zoo.eval.record import Check

REPEATS = 3  # passes of the same images
TOLERANCE = 1e-4  # of the largest logit, or of 1 where that is smaller


def in_train_mode(model: nn.Module) -> list[str]:
    """Return the names of the modules that are in train mode."""
    return [name or "the model" for name, part in model.named_modules() if part.training]


def check_modes(training: list[str]) -> Check:
    """No module of a model in eval mode is in train mode, nor puts itself there."""
    return finding(
        "eval-mode",
        not training,
        f"{len(training)} modules are in train mode by themselves" + f" ({training[0]})"
        if training
        else "No module is in train mode by itself",
        "the harness judges all in eval mode, so this is not the model you use; call model.eval()",
    )


def check_pixels(images: Tensor) -> Check:
    """Images hold finite pixels in [0,1] that differ and use the range."""
    low, high = float(images.min()), float(images.max())
    if not images.isfinite().all():
        remedy = "some are not finite numbers; repair the data"
    elif low < 0:
        remedy = "they look normalised; give them in [0,1] and normalise inside the model"
    elif high > 1:
        remedy = "they look like bytes; divide them by 255"
    elif low == high:
        remedy = "these are no images; check how they are read"
    elif high <= 2 / 255:
        remedy = "they were probably divided by 255 twice, so that epsilon is huge; divide once"
    else:
        remedy = ""
    return finding("pixels", not remedy, f"Pixels go from {low:.3g} to {high:.3g}", remedy)


def check_logits(logits: Tensor) -> Check:
    """The model returns finite logits in float32, not probabilities."""
    kind = str(logits.dtype).removeprefix("torch.")
    if logits.dtype not in (torch.float32, torch.float64):
        remedy = "that is too coarse to judge by; return float32"
    elif not logits.isfinite().all():
        remedy = "some are not finite numbers; repair the model"
    elif logits.min() >= 0 and (logits.sum(1) - 1).abs().max() < TOLERANCE:
        remedy = (
            "these are probabilities, whose gradients vanish where the model is confident; "
            "return what goes into the softmax"
        )
    else:
        remedy = ""
    low, high = float(logits.min()), float(logits.max())
    seen = f"The model returns {logits.shape[1]} {kind} values from {low:.3g} to {high:.3g}"
    return finding("logits", not remedy, seen, remedy)


@torch.no_grad()
def check_deterministic(model: nn.Module, images: Tensor, logits: Tensor) -> Check:
    """The model gives the same images the same logits each time."""
    apart = max(_apart(model(images), logits) for _ in range(REPEATS - 1))
    return finding(
        "deterministic",
        apart <= TOLERANCE,
        f"Logits of {REPEATS} passes of the same images differ by {apart:.2g} of the largest",
        "the model is random, so one gradient tells little; remove the randomness or attack with "
        "autoattack-rand",
    )


@torch.no_grad()
def check_batch_independent(model: nn.Module, images: Tensor, logits: Tensor) -> Check:
    """An image's logits do not depend on the images beside it (N >= 2)."""
    half = len(images) // 2
    apart = _apart(torch.cat([model(images[:half]), model(images[half:])]), logits)
    return finding(
        "batch-independent",
        apart <= TOLERANCE,
        f"Logits in another batch differ by {apart:.2g} of the largest",
        "images influence one another, as with batch norm on batch statistics; use running "
        "statistics",
    )


def check_plain_forward(watch: BackwardWatch) -> Check:
    """The forward pass computed no gradients of its own."""
    return finding(
        "plain-forward",
        not watch.seen,
        f"The forward pass ran {watch.seen} backward operations",
        "a defence that adapts to its input needs an attack made for it, which none of these is",
    )


class BackwardWatch(TorchDispatchMode):
    """Counts the backward operations that are executed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.seen += "backward" in func.__name__
        return func(*args, **(kwargs or {}))


def _apart(found: Tensor, logits: Tensor) -> float:
    """Return the largest difference as a share of the largest logit; NaN is infinitely far."""
    difference = (found - logits).abs().amax() / logits.abs().amax().clamp(min=1)
    return float(difference.nan_to_num(nan=torch.inf))
