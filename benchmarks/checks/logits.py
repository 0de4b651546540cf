"""Other changes of the logits: rounding, waves, traps, classes left out, gradients detached."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.checks.changed import Change, behind, bent, confidence, straight_through
from benchmarks.checks.data import CLASSES, SIDE
from benchmarks.checks.fixed import TRAP, WAVES


def wave_of_image(size: float, frequency: float) -> Change:
    """Return a change that adds to each class a wave along a direction of its own."""
    return behind(
        lambda logits, images: logits + size * torch.sin(frequency * (images.flatten(1) @ WAVES))
    )


def trap(distance: float, reach: float, slope: float = 3) -> Change:
    """Return a change that lets the next class come close to the best one and never reach it.

    Args:
        distance: between the two at rest.
        reach: how far attacks can raise the trap; less than the distance.
        slope: how soon they do.
    """

    def change(logits: Tensor, images: Tensor) -> Tensor:
        best, label = logits.max(1, keepdim=True)
        other = (label + 1) % CLASSES
        along = (images.flatten(1) @ TRAP)[:, None]
        raised = best - distance + reach * torch.tanh(slope * along)
        return logits.scatter(1, other, torch.maximum(raised, logits.gather(1, other)))

    return behind(change)


def best_two(logits: Tensor) -> Tensor:
    return torch.where(logits >= logits.topk(2, 1).values[:, 1:], logits, -30 + 0 * logits)


def reversed_where(condition: Callable[[Tensor], Tensor]) -> Change:
    """Return a change that turns the gradient around, on images chosen by their logits."""
    return bent(lambda logits: torch.where(condition(logits), 2 * logits.detach() - logits, logits))


def of_best(logits: Tensor) -> Tensor:
    """Return which logit of each image is the best (N, 10)."""
    return logits.argmax(1, keepdim=True) == torch.arange(CLASSES)


def mostly_detached(logits: Tensor, left: float) -> Tensor:
    """Return the logits with a part of the gradient of the best one."""
    return torch.where(of_best(logits), logits.detach() + left * (logits - logits.detach()), logits)


def two_pixel_wave(logits: Tensor, images: Tensor) -> Tensor:
    difference = images[:, 0, 2, 3] - images[:, 0, SIDE // 2, SIDE // 2]
    return logits + torch.cos(200 * difference)[:, None] * torch.linspace(-1, 1, CLASSES)


FIRST = {
    "logits rounded to tenths, and a slope": bent(
        lambda logits: logits.round(decimals=1) + 1e-3 * logits
    ),
    "logits rounded, straight through": bent(
        lambda logits: straight_through(logits, logits.round())
    ),
    "logits rounded, and a slope": bent(lambda logits: logits.round() + 1e-2 * logits),
    "waves on the logits": bent(lambda logits: logits + 0.5 * torch.sin(6 * logits)),
    "waves along a direction for each class": wave_of_image(0.5, 100),
    "fine waves along a direction for each class": wave_of_image(0.1, 1000),
    "a trap that starts close": trap(0.5, 0.4),
    "a steep trap": trap(1.0, 0.9, 30),
    "a wide trap": trap(3, 2.5),
    "the best two classes alone": bent(best_two),
    "the gradient of three classes reversed": reversed_where(
        lambda logits: logits.argmax(1, keepdim=True) < 3
    ),
    "the gradient of two classes reversed": reversed_where(
        lambda logits: logits.argmax(1, keepdim=True) < 2
    ),
    "the gradient of confident images reversed": reversed_where(
        lambda logits: confidence(logits) > 0.95
    ),
    "a tenth of the best logit's gradient": bent(lambda logits: mostly_detached(logits, 0.1)),
}
SECOND = {
    "triangle waves on the logits": bent(
        lambda logits: logits + 0.6 * ((3 * logits) % 1 - 0.5).abs()
    ),
    "waves of the difference of two pixels": behind(two_pixel_wave),
    "a hundredth of the best logit's gradient": bent(lambda logits: mostly_detached(logits, 0.01)),
}
OTHER_DECISIONS: frozenset[str] = frozenset()
