"""The training losses, each a function of the network, a crafted batch and the recipe.

| loss    | minimised                                           | source            |
| ------- | --------------------------------------------------- | ----------------- |
| natural | CE(f(x), y)                                         |                   |
| pgd-at  | CE(f(x'), y)                                        | Madry 2018        |
| trades  | CE(f(x), y) + beta KL(f(x), f(x'))                  | Zhang 2019, Eq. 5 |
| mart    | BCE(f(x'), y) + beta KL(f(x), f(x')) (1 - p_y(x))   | Wang 2020, Eq. 11 |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.attacks.losses import kl_divergence
from robnet_zoo.train.recipes import Recipe

Forward = Callable[[Tensor], Tensor]


class TrainBatch(NamedTuple):
    """A crafted batch: clean and adversarial images (N, C, H, W) in [0,1] and labels (N,)."""

    images: Tensor
    adversarial: Tensor
    labels: Tensor


class LossOutput(NamedTuple):
    """The mean loss over a batch, and the logits (N, classes) that training accuracy counts."""

    loss: Tensor
    logits: Tensor


def training_loss(recipe: Recipe, forward: Forward, batch: TrainBatch) -> LossOutput:
    """Return the recipe's loss of a crafted batch, in float32 whatever the network computes in."""
    images, adversarial, labels = batch
    logits = forward(adversarial).float()
    if recipe.loss in ("natural", "pgd-at"):
        return LossOutput(_cross_entropy(recipe, logits, labels), logits)
    clean = forward(images).float()
    divergence = kl_divergence(logits, clean)
    if recipe.loss == "trades":
        loss = _cross_entropy(recipe, clean, labels) + recipe.beta * divergence.mean()
        return LossOutput(loss, logits)
    doubt = 1 - clean.softmax(1).gather(1, labels[:, None])[:, 0]
    return LossOutput(
        boosted_cross_entropy(logits, labels) + recipe.beta * (divergence * doubt).mean(), logits
    )


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of -log p_y - log(1 - the largest other p) (MART, Eq. 8)."""
    probabilities = logits.softmax(1)
    others = probabilities.scatter(1, labels[:, None], 0.0).amax(1)
    return F.cross_entropy(logits, labels) - (1.0001 - others).log().mean()


def _cross_entropy(recipe: Recipe, logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
