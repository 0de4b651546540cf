"""Cells drawn at random from a search space."""

from __future__ import annotations

import random

from robnet_zoo.genotypes import Cell
from robnet_zoo.genotypes.types import Edge
from robnet_zoo.search.core.spaces import NODES, Space

CONCAT = tuple(range(2, 2 + NODES))


def random_cells(space: Space, rng: random.Random) -> dict[str, Cell]:
    """Return a cell for each role of a space.

    Each node reads two different states, and every operation but "none" is as likely on an edge.
    """
    operations = [name for name in space.operations if name != "none"]

    def edges(node: int) -> list[Edge]:
        sources = sorted(rng.sample(range(2 + node), 2))
        return [(rng.choice(operations), source) for source in sources]

    return {
        role: Cell(tuple(edge for node in range(NODES) for edge in edges(node)), CONCAT)
        for role in space.roles
    }
