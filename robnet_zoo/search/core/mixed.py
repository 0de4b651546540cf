"""The mixed operation: every candidate of an edge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robnet_zoo.models.fast.grouped import Term
from robnet_zoo.models.operations import OPERATIONS, NormalisedPool, Zero


class MixedOperation(nn.Module):
    """All candidate operations of an edge, from `width` channels to `width` channels.

    Pools are followed by a batch norm, so that no candidate is louder than another; none has
    weights. The cell computes them together with those of the other edges that read the state.
    """

    def __init__(self, operations: Sequence[str], width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.operations = nn.ModuleList(candidate(name, width, stride) for name in operations)

    def terms(self, weights: Sequence[Tensor | bool], factor: Tensor | None) -> list[Term]:
        """Return what the edge's sum consists of.

        Args:
            weights: what multiplies each operation; of switches, those that are False leave their
                operation out, and those that are True are 1.
            factor: what multiplies all of them; None for 1.
        """
        present = []
        for operation, weight in zip(self.operations, weights, strict=True):
            if isinstance(operation, Zero) or weight is False:
                continue
            present.append(Term(operation, factor if weight is True else weight))
        return present


def candidate(name: str, width: int, stride: int) -> nn.Module:
    """Return an operation as supernets hold it: batch norms without weights, also after pools."""
    operation = OPERATIONS[name](width, stride, False)
    if "pool" in name:
        return NormalisedPool(operation, nn.BatchNorm2d(width, affine=False))
    return operation


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` equal groups, (N, C, H, W) -> (N, C, H, W).

    The result lies in memory as channels_last.
    """
    last = x.permute(0, 2, 3, 1).unflatten(-1, (groups, -1))
    return last.transpose(-1, -2).flatten(-2).permute(0, 3, 1, 2)


def nothing(x: Tensor, stride: int) -> Tensor:
    """Return the zeros that an edge without operations gives."""
    return torch.zeros_like(x[:, :, ::stride, ::stride])
