"""The straightforward forms of networks and supernets, which the fast ones are held against.

Every edge and every operation is computed on its own, ReLUs and pools included, in the layout that
the images come in; a supernet multiplies each operation by its weight, be it 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.models.fast.grouped import total
from robnet_zoo.models.networks import Network
from robnet_zoo.search.core.spaces import EDGES, NODES, SOURCES, TARGETS
from robnet_zoo.search.core.supernet import CellWeights, Supernet


class PlainNetwork(nn.Module):
    """A network of cells, computed edge by edge as in the papers' code."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        return plain_network(self.network, images)


def plain(model: nn.Module) -> nn.Module:
    """Return the same network in its straightforward form, in the same mode."""
    return PlainNetwork(model).train(model.training) if isinstance(model, Network) else model


def plain_network(network: Any, images: Tensor) -> Tensor:
    """Return the logits of a `models.networks.Network` with a CIFAR stem."""
    older = newer = network.stem(images)
    for cell in network.cells:
        older, newer = newer, plain_cell(cell, older, newer)
    return network.forward_head(newer)


def plain_cell(cell: Any, older: Tensor, newer: Tensor) -> Tensor:
    """Return the output of a `models.cells.CellBlock`, edge by edge in the authors' order."""
    states = [cell.preprocess0(older), cell.preprocess1(newer)]
    for edges in cell.wiring:
        states.append(total(cell._ops[key](states[source]) for key, source in edges))
    return torch.cat([states[i] for i in cell.concat], 1)


def plain_supernet(
    supernet: Supernet, images: Tensor, weights: Mapping[str, CellWeights]
) -> Tensor:
    """Return a supernet's logits; switches stand for weights of 0 and 1."""
    older = newer = supernet.stem(images)
    for slot, cell in zip(supernet.space.slots, supernet.cells, strict=True):
        older, newer = newer, _cell(cell, older, newer, weights[slot.role])
    return supernet.classifier(supernet.global_pooling(newer).flatten(1))


def _cell(cell: Any, older: Tensor, newer: Tensor, weights: CellWeights) -> Tensor:
    operations, edges = weights
    if not isinstance(operations, Tensor):
        operations = torch.tensor(operations).to(older)
    states = [cell.preprocess0(older), cell.preprocess1(newer)]
    for node in range(NODES):
        incoming = []
        for edge in range(EDGES):
            if TARGETS[edge] == node:
                output = _edge(cell, cell._ops[edge], states[SOURCES[edge]], operations[edge])
                incoming.append(output if edges is None else edges[edge] * output)
        states.append(total(incoming))
    return torch.cat(states[2:], 1)


def _edge(cell: Any, edge: Any, state: Tensor, weights: Tensor) -> Tensor:
    inside = state.shape[1] // cell.partial
    mixed = total(
        weight * operation(state[:, :inside])
        for weight, operation in zip(weights, edge.operations, strict=True)
    )
    if cell.partial == 1:
        return mixed
    passing = F.max_pool2d(state[:, inside:], edge.stride)
    parted = torch.cat([mixed, passing], 1).unflatten(1, (cell.partial, -1))
    return parted.transpose(1, 2).flatten(1, 2)
