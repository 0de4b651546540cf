"""What an ARNAS search descends: losses as functions of the weights and the architecture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from robnet_zoo.search.core.spaces import EDGES, Space
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.core.unrolled import Objective, Weights
from robnet_zoo.search.run.data import Batch


def shares(space: Space, architecture: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return each role's shares of operations (edges, operations): the softmax of its scores."""
    scored = zip(space.roles, architecture, strict=True)
    return {role: scores.softmax(1) for role, scores in scored}


def mixture(space: Space, architecture: Sequence[Tensor]) -> dict[str, CellWeights]:
    """Return the shares as the supernet takes them."""
    return {role: CellWeights(share) for role, share in shares(space, architecture).items()}


def classification(supernet: Supernet, batch: Batch) -> Objective:
    """Return the cross-entropy of a batch."""

    def loss(weights: Weights, architecture: Sequence[Tensor]) -> Tensor:
        cells = mixture(supernet.space, architecture)
        logits = functional_call(supernet, dict(weights), (batch.images, cells))
        return F.cross_entropy(logits, batch.labels)

    return loss


def size(supernet: Supernet) -> Objective:
    """Return the expected number of the operations' parameters, as a share of the largest.

    All edges count, those too that discretisation will drop.
    """
    tables = parameters_by_operation(supernet)
    largest = sum(table.amax(1).sum() for table in tables.values())

    def expected(weights: Weights, architecture: Sequence[Tensor]) -> Tensor:
        mixed = shares(supernet.space, architecture)
        sums = [(tables[role] * share).sum() for role, share in mixed.items()]
        return torch.stack(sums).sum() / largest

    return expected


def scaled(objective: Objective, factor: float) -> Objective:
    """Return an objective times a factor."""
    return lambda weights, architecture: factor * objective(weights, architecture)


def parameters_by_operation(supernet: Supernet) -> dict[str, Tensor]:
    """Return each role's parameters by edge and operation, summed over its cells."""
    device = next(supernet.parameters()).device
    shape = (EDGES, len(supernet.space.operations))
    tables = {role: torch.zeros(shape, device=device) for role in supernet.space.roles}
    for name, weight in supernet.named_parameters():
        parts = name.split(".")  # such as cells.3._ops.13.operations.6.op.1.weight
        if "_ops" in parts:
            role = supernet.space.slots[int(parts[1])].role
            tables[role][int(parts[3]), int(parts[5])] += weight.numel()
    return tables
