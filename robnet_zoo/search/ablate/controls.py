"""Controls: cells that no search chose, from the space of the search that they are held against."""

from __future__ import annotations

import random

from robnet_zoo.genotypes import Cell, CellGenotype
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.search.core.random_cells import CONCAT, random_cells
from robnet_zoo.search.core.spaces import NODES, Space

RANDOM, UNIFORM = "random:", "all:"  # such as "random:3" and "all:avg_pool_3x3"


def is_made_here(control: str) -> bool:
    """Return whether a control is made here, and not a cell of the zoo or of a file."""
    return control.startswith((RANDOM, UNIFORM))


def make_controls(control: str, space: Space, seed: int) -> list[CellGenotype]:
    """Return the cells of "random:N", drawn from a space, or of "all:OPERATION".

    Args:
        control: what is asked for.
        space: its operations and roles.
        seed: of the drawing; a cell's number and the seed fix it.

    Raises:
        ZooError: N is no whole number from 1 on, or the space has no such operation.
    """
    if control.startswith(UNIFORM):
        operation = control.removeprefix(UNIFORM)
        operations = [name for name in space.operations if name != "none"]
        if operation not in operations:
            raise unknown_name("operation", operation, operations)
        cell = Cell(((operation, 0), (operation, 1)) * NODES, CONCAT)
        cells = dict.fromkeys(space.roles, cell)
        return [CellGenotype(f"all-{operation}", "control", "one operation", cells)]
    number = control.removeprefix(RANDOM)
    if not number.isdecimal() or int(number) < 1:
        raise ZooError(f"Control '{control}' is not understood; write a number, such as random:3.")
    source = f"drawn at random, seed {seed}"
    generators = [random.Random(f"{seed}/control/{index}") for index in range(int(number))]
    return [
        CellGenotype(f"random-{index}", "control", source, random_cells(space, rng))
        for index, rng in enumerate(generators)
    ]
