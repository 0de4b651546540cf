"""An exponential moving average of a network's weights and batch norm statistics."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from robnet_zoo.train.recipes import Recipe


class AveragePairs(NamedTuple):
    """The tensors of an average and those that they follow, each in the same order.

    They are gathered once: walking through a network takes longer than averaging it.
    """

    averages: list[Tensor]
    values: list[Tensor]
    counters: list[Tensor]
    counts: list[Tensor]


def pair(average: nn.Module, model: nn.Module) -> AveragePairs:
    """Return the pairs of two networks of one kind, which hold them for as long as they live."""
    ours, theirs = average.state_dict(), model.state_dict()
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    others = [name for name in ours if name not in set(floats)]
    return AveragePairs(
        *([state[name] for name in names] for names in (floats, others) for state in (ours, theirs))
    )


def average_decay(recipe: Recipe, steps: int) -> float:
    """Return the decay for a training of so many steps."""
    if recipe.ema_horizon:
        return max(1 - 1 / max(recipe.ema_horizon * steps, 1.0), 0.0)
    return recipe.ema


@torch.no_grad()
def update_average(pairs: AveragePairs, decay: float, step: int) -> None:
    """Move the average towards the model, by less the longer the training lasts.

    The decay is min(decay, (1 + step) / (10 + step)), so that a short training is averaged too.
    Integer buffers are copied.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(pairs.averages, pairs.values, weight)
    torch._foreach_copy_(pairs.counters, pairs.counts)
