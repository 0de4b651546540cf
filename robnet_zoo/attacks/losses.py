"""Losses that attacks raise: one value an image, from logits (N, classes) and labels (N,)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each image (N,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def kl_divergence(logits: Tensor, clean_logits: Tensor) -> Tensor:
    """Return KL(clean || adversarial) of each image (N,), TRADES' inner objective (Eq. 3)."""
    return F.kl_div(
        logits.log_softmax(1), clean_logits.log_softmax(1), reduction="none", log_target=True
    ).sum(1)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the best other logit minus the label's (N,): above 0 where the image is broken."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -math.inf)
    return others.amax(1) - own[:, 0]


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "kl": kl_divergence, "margin": margin}
