"""The supernet: one network that contains every architecture of a search space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.models.fast.grouped import Term, edge_outputs, total
from robnet_zoo.models.layers import conv
from robnet_zoo.models.networks import STEM_MULTIPLE, check_sizes
from robnet_zoo.models.operations import FactorizedReduce, ReluConvBn
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.mixed import MixedOperation, nothing, shuffle
from robnet_zoo.search.core.spaces import EDGES, NODES, SOURCES, TARGETS, Slot, Space

NARROW = 16  # channels up to which grouped convolutions are faster on a CPU too

Switches = tuple[tuple[bool, ...], ...]


class CellWeights(NamedTuple):
    """The architecture of a cell, as its forward pass takes it.

    Attributes:
        operations: what multiplies each edge's operations (edges, operations), or switches of the
            same layout, which leave operations out.
        edges: what multiplies each edge's sum (edges,) (PC-DARTS's beta); None for 1.
    """

    operations: Tensor | Switches
    edges: Tensor | None = None


class Edge(NamedTuple):
    """What an edge computes of a state, and what multiplies it all; None for 1."""

    terms: list[Term]
    factor: Tensor | None


class SuperCell(nn.Module):
    """A cell with all its edges, each a mixed operation; nodes add their edges in order.

    With `partial` = K > 1 only the first width / K channels of a state go through the operations;
    the others pass by, pooled where an edge is strided, and a shuffle mixes both (PC-DARTS,
    section 3.1). Since the shuffle is linear, it comes after a node's sum.

    Attributes:
        grouped: as in `models.cells.CellBlock`.
    """

    grouped: bool | None = None

    def __init__(
        self, space: Space, slot: Slot, older: int, newer: int, width: int, *, halve: bool
    ) -> None:
        super().__init__()
        preprocess = FactorizedReduce if halve else ReluConvBn
        self.preprocess0 = preprocess(older, width, False)
        self.preprocess1 = ReluConvBn(newer, width, False)
        self.strides = tuple(2 if slot.reduction and source < 2 else 1 for source in SOURCES)
        self.partial, self.inside = space.partial, width // space.partial
        self._ops = nn.ModuleList(
            MixedOperation(space.operations, self.inside, stride) for stride in self.strides
        )

    def forward(self, older: Tensor, newer: Tensor, weights: CellWeights) -> Tensor:
        """Return the concatenated nodes for the outputs of the two cells before."""
        states = [self.preprocess0(older), self.preprocess1(newer)]
        edges = self._edges(weights)
        grouped = self.grouped
        if isinstance(weights.operations, Tensor) and self.inside <= NARROW and grouped is None:
            grouped = True  # switches stay bit by bit what a network of their own gives

        def leave(number: int) -> dict[int, tuple[Tensor, ...]]:
            readers = {index: edge for index, edge in edges.items() if SOURCES[index] == number}
            return self._edge_outputs(states[number], readers, grouped) if readers else {}

        given = leave(0) | leave(1)
        for node in range(NODES):
            incoming = [given[edge] for edge in given if TARGETS[edge] == node]
            if incoming:
                sums = [total(part) for part in zip(*incoming, strict=True)]
                states.append(shuffle(torch.cat(sums, 1), self.partial) if sums[1:] else sums[0])
            else:
                states.append(nothing(states[0], self.strides[0]))  # keeps an empty node's size
            given |= leave(len(states) - 1)
        return torch.cat(states[2:], dim=1)

    def _edges(self, weights: CellWeights) -> dict[int, Edge]:
        """Return the edges that compute anything."""
        table, edges = weights
        factors = [None] * EDGES if edges is None else edges.unbind()
        rows: Sequence[Sequence[Tensor | bool]]
        if isinstance(table, Tensor):
            rows = [row.unbind() for row in (table if edges is None else table * edges[:, None])]
        else:
            rows = table
        each = zip(cast(Iterable[MixedOperation], self._ops), rows, factors, strict=True)
        computed = (Edge(mixed.terms(row, factor), factor) for mixed, row, factor in each)
        return {index: edge for index, edge in enumerate(computed) if edge.terms}

    def _edge_outputs(
        self, state: Tensor, readers: Mapping[int, Edge], grouped: bool | None
    ) -> dict[int, tuple[Tensor, ...]]:
        """Return what the edges that read a state give: the operations' sum, and what passes by."""
        inside, past = state, None
        if self.partial > 1:
            inside, past = state.split([self.inside, state.shape[1] - self.inside], 1)
        mixed = edge_outputs(
            inside, {index: edge.terms for index, edge in readers.items()}, grouped
        )
        if past is None:
            return {index: (given,) for index, given in mixed.items()}
        if self.strides[min(readers)] == 2:
            past = F.max_pool2d(past, 2)
        return {
            index: (mixed[index], past if edge.factor is None else edge.factor * past)
            for index, edge in readers.items()
        }


class Supernet(nn.Module):
    """A supernet: (images (N, C, H, W) in [0,1], architecture weights) -> logits (N, classes).

    The architecture is an argument, not a parameter, so that one set of weights serves any
    number of architectures. Names of parameters follow `models.networks.Network`. It computes in
    channels_last, which on a CPU makes its convolutions several times as fast.
    """

    def __init__(
        self, space: Space, *, channels: int, num_classes: int = 10, in_channels: int = 3
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, num_classes=num_classes, in_channels=in_channels)
        if channels % (2 * space.partial):
            raise ZooError(
                f"channels={channels} cannot be divided in {space.partial} parts of even width; "
                f"use a multiple of {2 * space.partial}."
            )
        self.space = space
        older = newer = STEM_MULTIPLE * channels
        self.stem = nn.Sequential(conv(in_channels, newer, 3), nn.BatchNorm2d(newer))
        cells, halve = [], False
        for slot in space.slots:
            width = slot.multiple * channels
            cells.append(SuperCell(space, slot, older, newer, width, halve=halve))
            older, newer, halve = newer, NODES * width, slot.reduction
        self.cells = nn.ModuleList(cells)
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(newer, num_classes)

    def forward(self, x: Tensor, weights: Mapping[str, CellWeights]) -> Tensor:
        """Return the logits of the architecture that `weights` gives for each role."""
        older = newer = self.stem(x).contiguous(memory_format=torch.channels_last)
        for slot, cell in zip(self.space.slots, self.cells, strict=True):
            older, newer = newer, cell(older, newer, weights[slot.role])
        return self.classifier(self.global_pooling(newer).flatten(1))
