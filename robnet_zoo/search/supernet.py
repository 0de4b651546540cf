"""The supernet: one network that contains every architecture of a search space."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robnet_zoo.errors import ZooError
from robnet_zoo.models.networks import STEM_MULTIPLE, check_sizes
from robnet_zoo.models.operations import FactorizedReduce, ReluConvBn, conv
from robnet_zoo.search.mixed import MixedOperation, nothing
from robnet_zoo.search.spaces import EDGES, NODES, SOURCES, TARGETS, Slot, Space

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


class SuperCell(nn.Module):
    """A cell with all its edges, each a mixed operation; nodes add their edges in order."""

    def __init__(
        self, space: Space, slot: Slot, older: int, newer: int, width: int, *, halve: bool
    ) -> None:
        super().__init__()
        preprocess = FactorizedReduce if halve else ReluConvBn
        self.preprocess0 = preprocess(older, width, False)
        self.preprocess1 = ReluConvBn(newer, width, False)
        self.strides = tuple(2 if slot.reduction and source < 2 else 1 for source in SOURCES)
        self._ops = nn.ModuleList(
            MixedOperation(space.operations, width, stride, space.partial)
            for stride in self.strides
        )

    def forward(self, older: Tensor, newer: Tensor, weights: CellWeights) -> Tensor:
        """Return the concatenated nodes for the outputs of the two cells before."""
        states = [self.preprocess0(older), self.preprocess1(newer)]
        for node in range(NODES):
            # one after the other, as in models.cells: gradients then add up in the same order
            incoming = self._incoming(states, node, weights)
            first = next(incoming, None)
            states.append(
                nothing(states[0], self.strides[0])  # keeps the size of an empty node
                if first is None
                else reduce(operator.add, incoming, first)
            )
        return torch.cat(states[2:], dim=1)

    def _incoming(self, states: list[Tensor], node: int, weights: CellWeights) -> Iterator[Tensor]:
        """Yield the outputs of a node's edges; those with every switch off are left out."""
        for edge in range(EDGES):
            operations = weights.operations[edge]
            if TARGETS[edge] != node or not (isinstance(operations, Tensor) or any(operations)):
                continue
            mixed = self._ops[edge](states[SOURCES[edge]], operations)
            yield mixed if weights.edges is None else weights.edges[edge] * mixed


class Supernet(nn.Module):
    """A supernet: (images (N, C, H, W) in [0,1], architecture weights) -> logits (N, classes).

    The architecture is an argument, not a parameter, so that one set of weights serves any
    number of architectures. Names of parameters follow `models.networks.Network`.
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
        older = newer = self.stem(x)
        for slot, cell in zip(self.space.slots, self.cells, strict=True):
            older, newer = newer, cell(older, newer, weights[slot.role])
        return self.classifier(self.global_pooling(newer).flatten(1))
