"""An exponential moving average of a network's weights and batch norm statistics."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `model`, by less the longer the training lasts.

    The decay is min(decay, (1 + step) / (10 + step)), so that a short training is averaged too.
    Integer buffers are copied.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    ours, theirs = average.state_dict(), model.state_dict()
    names = [name for name, value in ours.items() if value.is_floating_point()]
    torch._foreach_lerp_([ours[n] for n in names], [theirs[n] for n in names], weight)
    for name in ours.keys() - set(names):
        ours[name].copy_(theirs[name])
