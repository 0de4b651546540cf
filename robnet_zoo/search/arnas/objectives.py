"""What ARNAS searches by beside losses: the operations' size, factors, and how all are mixed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robnet_zoo.search.core.mgda import least_norm_weights
from robnet_zoo.search.core.spaces import EDGES, Space
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.core.unrolled import Objective, Weights


def operation_weights(space: Space, architecture: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return each role's weights of operations (edges, operations): the softmax of its scores."""
    scored = zip(space.roles, architecture, strict=True)
    return {role: scores.softmax(1) for role, scores in scored}


def size(supernet: Supernet) -> Objective:
    """Return the expected number of the operations' parameters, as a fraction of the largest.

    All edges count, those too that discretisation will drop.
    """
    tables = parameters_by_operation(supernet)
    largest = sum(table.amax(1).sum() for table in tables.values())

    def expected(weights: Weights, architecture: Sequence[Tensor]) -> Tensor:
        mixed = operation_weights(supernet.space, architecture)
        sums = [(tables[role] * operations).sum() for role, operations in mixed.items()]
        return torch.stack(sums).sum() / largest

    return expected


def mixture_weights(mixing: str, gradients: Tensor) -> Tensor:
    """Return the weights (k,) that the gradients of k objectives are mixed with.

    Args:
        mixing: as in `ArnasRecipe`.
        gradients: one a row (k, n): natural, adversarial and any others.
    """
    if mixing == "mgda":
        return least_norm_weights(gradients)
    weights = torch.full((len(gradients),), 1 / len(gradients), dtype=torch.float64)
    if mixing == "adversarial":
        weights = torch.zeros_like(weights)
        weights[1] = 1
    return weights


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
