"""From architecture weights to a cell: the best operations on each node's two best edges."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from robnet_zoo.genotypes import Cell
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.spaces import EDGES, NODES, SOURCES, TARGETS


def best_two_edges(scores: Tensor, operations: Sequence[str]) -> Cell:
    """Return the cell that keeps the two best edges of each node, each with its best operation.

    The operation "none" is never chosen.

    Args:
        scores: worth of each operation on each edge (edges, operations), edge weights included.
        operations: their names.

    Raises:
        ZooError: a score is not a number, or two operations of a kept edge share the best one: the
            search has decided nothing there.
    """
    allowed = [index for index, name in enumerate(operations) if name != "none"]
    if scores.isnan().any():
        raise ZooError("Operations' scores are not numbers, so no cell can be chosen; lower lr.")
    kept, best, second, which = _ranked(scores, allowed)
    if any(best[edge] == second[edge] for edge in kept):
        raise ZooError(
            "Two operations are tied for an edge, so no cell can be chosen: the scores have "
            "saturated; lower the architecture's learning rate."
        )
    chosen = tuple((operations[allowed[int(which[edge])]], SOURCES[edge]) for edge in kept)
    return Cell(chosen, tuple(range(2, 2 + NODES)))


def leads(scores: Tensor, operations: Sequence[str]) -> list[float]:
    """Return by how much the best operation of each kept edge is ahead of the second best.

    Args:
        scores: as for `best_two_edges`.
        operations: their names.
    """
    allowed = [index for index, name in enumerate(operations) if name != "none"]
    kept, best, second, _ = _ranked(scores, allowed)
    return [float(best[edge] - second[edge]) for edge in kept]


def _ranked(scores: Tensor, allowed: list[int]) -> tuple[list[int], Tensor, Tensor, Tensor]:
    """Return the kept edges, and of every edge its two best scores and the best's position."""
    table = scores.detach().double().cpu()[:, allowed]
    (best, second), (which, _) = (part.unbind(1) for part in table.topk(2, dim=1))
    kept: list[int] = []
    for node in range(NODES):
        entering = [edge for edge in range(EDGES) if TARGETS[edge] == node]
        # ties go to the earlier edge; the cell lists its edges by source
        kept += sorted(sorted(entering, key=lambda edge: -float(best[edge]))[:2])
    return kept, best, second, which
