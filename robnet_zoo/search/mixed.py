"""The mixed operation: every candidate of an edge at once, weighted or switched."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.models.operations import OPERATIONS

Weights = Tensor | Sequence[bool]


class MixedOperation(nn.Module):
    """All candidate operations of an edge, from `width` channels to `width` channels.

    With `partial` = K > 1 only the first width / K channels go through them; the others pass by,
    pooled where the edge is strided, and a shuffle mixes both (PC-DARTS, section 3.1). Pools are
    followed by a batch norm, so that no candidate is louder than another; none has weights.
    """

    def __init__(
        self, operations: Sequence[str], width: int, stride: int, partial: int = 1
    ) -> None:
        super().__init__()
        self.stride, self.partial = stride, partial
        self.inside = width // partial
        self.operations = nn.ModuleList(candidate(name, self.inside, stride) for name in operations)

    def forward(self, x: Tensor, weights: Weights) -> Tensor:
        """(N, width, H, W) -> (N, width, H/stride, W/stride).

        Args:
            x: the state that the edge reads.
            weights: a tensor (operations,) that multiplies the candidates, or switches: those
                that are False are not computed, those that are True are summed in order.
        """
        if self.partial == 1:
            return self._sum(x, weights)
        mixed = self._sum(x[:, : self.inside], weights)
        passing = x[:, self.inside :]
        if self.stride == 2:
            passing = F.max_pool2d(passing, 2)
        return shuffle(torch.cat([mixed, passing], dim=1), self.partial)

    def _sum(self, x: Tensor, weights: Weights) -> Tensor:
        if isinstance(weights, Tensor):
            scaled = zip(weights, self.operations, strict=True)
            return reduce(operator.add, (weight * operation(x) for weight, operation in scaled))
        chosen = zip(weights, self.operations, strict=True)
        present = [operation(x) for switch, operation in chosen if switch]
        return reduce(operator.add, present) if present else nothing(x, self.stride)


def candidate(name: str, width: int, stride: int) -> nn.Module:
    """Return an operation as supernets hold it: batch norms without weights, also after pools."""
    operation = OPERATIONS[name](width, stride, False)
    if "pool" in name:
        return nn.Sequential(operation, nn.BatchNorm2d(width, affine=False))
    return operation


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` equal groups, (N, C, H, W) -> (N, C, H, W)."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def nothing(x: Tensor, stride: int) -> Tensor:
    """Return the zeros that an edge without operations gives."""
    return torch.zeros_like(x[:, :, ::stride, ::stride])
