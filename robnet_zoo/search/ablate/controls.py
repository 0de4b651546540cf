"""Controls: cells that no search chose, from the space of the search that they are held against."""

from __future__ import annotations

import random
from collections.abc import Callable

from robnet_zoo.genotypes import Cell, CellGenotype
from robnet_zoo.genotypes.types import Edge
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.search.core.spaces import NODES, Space

RANDOM, UNIFORM = "random:", "all:"  # such as "random:3" and "all:avg_pool_3x3"


def is_made_here(control: str) -> bool:
    """Return whether a control is made here, and not a cell of the zoo or of a file."""
    return control.startswith((RANDOM, UNIFORM))


def make_controls(control: str, space: Space, seed: int) -> list[CellGenotype]:
    """Return the cells of "random:N", drawn from a space, or of "all:OPERATION".

    Drawn nodes read two different states, and every operation but "none" is as likely.

    Args:
        control: what is asked for.
        space: its operations and roles.
        seed: of the drawing; a cell's number and the seed fix it.

    Raises:
        ZooError: N is no whole number from 1 on, or the space has no such operation.
    """
    operations = [name for name in space.operations if name != "none"]
    if control.startswith(UNIFORM):
        operation = control.removeprefix(UNIFORM)
        if operation not in operations:
            raise unknown_name("operation", operation, operations)
        cell = _cell(lambda node: [(operation, 0), (operation, 1)])
        return [_genotype(f"all-{operation}", "one operation", dict.fromkeys(space.roles, cell))]
    number = control.removeprefix(RANDOM)
    if not number.isdecimal() or int(number) < 1:
        raise ZooError(f"Control '{control}' is not understood; write a number, such as random:3.")
    source = f"drawn at random, seed {seed}"
    generators = [random.Random(f"{seed}/control/{index}") for index in range(int(number))]
    return [
        _genotype(f"random-{index}", source, _drawn(space, operations, rng))
        for index, rng in enumerate(generators)
    ]


def _drawn(space: Space, operations: list[str], rng: random.Random) -> dict[str, Cell]:
    def edges(node: int) -> list[Edge]:
        sources = sorted(rng.sample(range(2 + node), 2))
        return [(rng.choice(operations), source) for source in sources]

    return {role: _cell(edges) for role in space.roles}


def _cell(edges: Callable[[int], list[Edge]]) -> Cell:
    every = tuple(edge for node in range(NODES) for edge in edges(node))
    return Cell(every, tuple(range(2, 2 + NODES)))


def _genotype(name: str, source: str, cells: dict[str, Cell]) -> CellGenotype:
    return CellGenotype(name, "control", source, cells)
