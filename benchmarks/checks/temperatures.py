"""Changes of the scale of logits that differ from image to image; they keep every decision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.checks.changed import (
    Change,
    behind,
    bent,
    chances,
    coarse_seeds,
    confidence,
    margin,
    seeds,
)


def where(condition: Callable[[Tensor], Tensor], factor: float) -> Change:
    """Return a change that multiplies the logits of some images, chosen by their logits."""
    return bent(lambda logits: torch.where(condition(logits), factor * logits, logits))


def drawn_temperature(number: Callable[[Tensor], list[int]]) -> Change:
    """Return a change that multiplies logits by 0.1 to 100, decided by the image."""
    return behind(lambda logits, images: logits * 10 ** (3 * chances(images, number) - 1))


def drawn_fifth(number: Callable[[Tensor], list[int]]) -> Change:
    """Return a change that multiplies the logits of a fifth of all images by 200."""
    return behind(
        lambda logits, images: torch.where(chances(images, number) < 0.2, 200 * logits, logits)
    )


def first_classes(logits: Tensor) -> Tensor:
    return logits.argmax(1, keepdim=True) < 3


FIRST = {
    "a temperature drawn for each image": drawn_temperature(seeds),
    "a temperature drawn for each rounded image": drawn_temperature(coarse_seeds),
    "logits x 200 on a fifth of all images": drawn_fifth(seeds),
    "logits x 200 on a fifth of all rounded images": drawn_fifth(coarse_seeds),
    "logits x 200 of the first three classes": where(first_classes, 200),
    "logits x (1 + 50 confidence)": bent(
        lambda logits: logits * (1 + 50 * confidence(logits).detach())
    ),
    "logits x 30 where confident": where(lambda logits: confidence(logits) > 0.9, 30),
    "logits / 30 where confident": where(lambda logits: confidence(logits) > 0.9, 1 / 30),
    "logits / 30 where unsure": where(lambda logits: confidence(logits) < 0.9, 1 / 30),
    "logits x 15 / margin": bent(lambda logits: 15 * logits / (margin(logits) + 0.1)),
    "logits x 20 / margin, the margin detached": bent(
        lambda logits: 20 * logits / (margin(logits) + 0.5).detach()
    ),
    "logits x 20 / (norm + 1)": bent(
        lambda logits: 20 * logits / (logits.norm(dim=1, keepdim=True) + 1)
    ),
    "logits x 10 / (deviation + 1)": bent(
        lambda logits: 10 * logits / (logits.std(1, keepdim=True) + 1)
    ),
}
SECOND = {
    "a temperature by brightness": behind(
        lambda logits, images: logits * torch.exp(20 * (images.mean((1, 2, 3)) - 0.3))[:, None]
    ),
    "logits x margin": bent(lambda logits: logits * margin(logits)),
    "logits x 3 / margin": bent(lambda logits: 3 * logits / (margin(logits) + 0.3)),
    "logits x 3 / log-sum-exp": bent(
        lambda logits: 3 * logits / logits.logsumexp(1, keepdim=True).clamp(min=0.5)
    ),
    "logits x 30 where the margin is wide": where(lambda logits: margin(logits) > 3, 30),
}
OTHER_DECISIONS: frozenset[str] = frozenset()
