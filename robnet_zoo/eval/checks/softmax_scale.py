"""Whether the size of logits is one at which the cross-entropy finds its way."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robnet_zoo.attacks.norms import TINY

FLAT = 0.4  # of the accuracy: a softmax less confident than this was hardly trained so
LOST = 0.25  # of the images may have a softmax of 1, and lost their way


class Scale(NamedTuple):
    """What the size of logits makes of the softmax.

    Attributes:
        confidence: mean, in parts of the accuracy.
        full: part of the images where float32 has the label's probability as 1.
    """

    confidence: float
    full: float

    @property
    def saturated(self) -> bool:
        """Whether float32 has nothing left of the cross-entropy on many images."""
        return self.full > LOST


def scale_of(logits: Tensor, labels: Tensor) -> Scale:
    """Return what the size of logits (N, classes) makes of the softmax."""
    sure = logits.double().softmax(1)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    rounded = 1 - sure.gather(1, labels[:, None]) < torch.finfo(torch.float32).eps / 2
    return Scale(
        confidence=float(sure.amax(1).mean()) / max(accuracy, TINY),
        full=float(rounded.float().mean()),
    )


def scale_remedy(scale: Scale) -> str:
    """Return what was probably done to the logits, and what to do."""
    if scale.confidence < FLAT:
        return (
            "the logits are so close together that the softmax pulls at all classes alike; return "
            "them as they were before they were divided, squashed or normalised"
        )
    if scale.saturated:
        return (
            "the logits are so far apart that the softmax rounds to 1; return them as they were "
            "before they were multiplied"
        )
    return (
        "something bends the logits, such as a temperature that depends on the image; return them "
        "as they were before"
    )
