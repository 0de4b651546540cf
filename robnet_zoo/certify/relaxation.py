"""Lines below and above a ReLU or a max pool whose input is known to lie in an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.certify.graph import Map, Node

TINY = 1e-30


@dataclass(frozen=True)
class Lines:
    """lower * z <= y <= upper * z + offset, entry by entry (N, ...), for a node's value y.

    z is the node's input, of a max pool the one entry of each window that `pick` takes.
    """

    lower: Tensor
    upper: Tensor
    offset: Tensor
    pick: Map


def lines(node: Node, low: Tensor, high: Tensor) -> Lines:
    """Return the lines of a relaxed node whose input lies between `low` and `high` (N, ...)."""
    return _relu(low, high) if node.kind == "relu" else _max_pool(node, low, high)


def _relu(low: Tensor, high: Tensor) -> Lines:
    """The upper line is the chord; the lower one y >= z or y >= 0, whichever loses less area.

    Zhang et al. 2018 (CROWN), section 3.3; the lines of Weng et al. 2018 (Fast-Lin) differ in the
    lower slope, which is there that of the chord.
    """
    positive, negative = high.clamp(min=0), low.clamp(max=0)
    slope = positive / (positive - negative).clamp(min=TINY)
    return Lines((high > -low).to(slope), slope, -slope * negative, lambda z: z)


def _max_pool(node: Node, low: Tensor, high: Tensor) -> Lines:
    """With z the entry of the largest lower bound and m the largest upper bound of the others.

    The window's maximum is at least z. It is at most max(z, m), and above that lies the chord from
    its value at z's lower bound to that at z's upper bound: z itself where no other entry can be
    larger, and the constant m where m is the larger for certain.
    """
    window = node.window
    _, index = F.max_pool2d(low.detach(), *window, return_indices=True)
    index = index.flatten(2)

    def pick(z: Tensor) -> Tensor:
        rows = index.repeat(len(z) // len(index), 1, 1)
        return z.flatten(2).gather(2, rows).view(len(z), *node.value.shape[1:])

    others = _largest_other(high, index, window).view_as(node.value)
    z_low, z_high = pick(low), pick(high)
    start = torch.maximum(others, z_low)
    slope = ((z_high - start) / (z_high - z_low).clamp(min=TINY)).clamp(0, 1)
    slope = torch.where(others <= z_low, torch.ones_like(slope), slope)
    return Lines(torch.ones_like(slope), slope, start - slope * z_low, pick)


def _largest_other(values: Tensor, index: Tensor, window: tuple[Any, ...]) -> Tensor:
    """Return each window's largest value (N, C, windows) but for the entry at `index`."""
    size, stride, (rows, columns) = window
    sides = values.shape[2:]

    def windows(x: Tensor, fill: float) -> Tensor:
        padded = F.pad(x, [columns, columns, rows, rows], value=fill)
        return F.unfold(padded, size, stride=stride).unflatten(1, (x.shape[1], -1))

    places = torch.arange(sides.numel(), dtype=values.dtype, device=values.device)
    places = windows(places.view(1, 1, *sides), -1)
    taken = places == index.to(values.dtype).unsqueeze(2)
    return windows(values, -torch.inf).masked_fill(taken, -torch.inf).amax(2)


@dataclass(frozen=True)
class Band:
    """slope * z + low <= y <= slope * z + high, entry by entry (N, ...); z as in `Lines`."""

    slope: Tensor
    low: Tensor
    high: Tensor
    pick: Map


def parallel(node: Node, low: Tensor, high: Tensor) -> Band:
    """Return two lines of one slope around a relaxed node, of its upper line in `lines`.

    A ReLU lies above its slope times z everywhere. A window's maximum is at least z, so it lies
    above slope * z by (1 - slope) z or more, which is least at z's lower bound.
    """
    upper = lines(node, low, high)
    if node.kind == "relu":
        least = torch.zeros_like(upper.offset)
    else:
        least = (1 - upper.upper) * upper.pick(low)
    return Band(upper.upper, least, torch.maximum(least, upper.offset), upper.pick)
