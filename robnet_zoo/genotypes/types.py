"""The types of genotypes: what their JSON may hold, and what must fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from robnet_zoo.runtime.errors import ZooError, unknown_name

Edge = tuple[str, int]  # operation (or RobNet code) and the state that it reads
Nodes = tuple[tuple[Edge, ...], ...]  # the incoming edges of each intermediate node

Status = Literal["published", "reconstructed", "searched here", "control"]
RobNetCode = Annotated[str, Meta(pattern=r"^[01][01]\Z")]  # identity, separable convolution

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "conv_7x1_1x7",
)
ROBNET_CODES = ("00", "01", "10", "11")
ROBNET_NODES = 4
ROBNET_EDGES = 14
CELL_ROLES = ({"normal", "reduce"}, {"accurate", "robust", "reduce"})


class Cell(Struct, frozen=True):
    """A cell whose intermediate nodes add two edges each.

    Attributes:
        edges: two (operation, source) pairs for each node, in node order; sources 0 and 1 are the
            outputs of the last cell but one and of the last cell, 2 and up the nodes so far.
        concat: the states whose channels, one after the other, are the cell's output.
    """

    edges: tuple[Edge, ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.edges or len(self.edges) % 2:
            raise ZooError(
                f"A cell needs two edges for each node, but {len(self.edges)} edges are given."
            )
        for index, (operation, source) in enumerate(self.edges):
            if operation not in OPERATIONS:
                raise unknown_name("operation", operation, OPERATIONS)
            state = 2 + index // 2
            if not 0 <= source < state:
                raise ZooError(
                    f"Edge {index} enters node {state} and reads state {source!r}; "
                    f"it may read the states 0 to {state - 1}."
                )
        states = range(2, 2 + len(self.edges) // 2)
        if not self.concat or len(set(self.concat)) < len(self.concat):
            raise ZooError(f"concat {list(self.concat)} must name at least one node, each once.")
        if not set(self.concat) <= set(states):
            raise ZooError(f"concat {list(self.concat)} may only name the nodes 2 to {states[-1]}.")

    @property
    def nodes(self) -> Nodes:
        """The edges, grouped by the node that they enter."""
        return tuple(self.edges[i : i + 2] for i in range(0, len(self.edges), 2))


class CellGenotype(Struct, frozen=True, tag_field="kind", tag="cells"):
    """An architecture of two-edge cells; `cells` maps each role to its cell.

    The roles are `normal` and `reduce`, or `accurate`, `robust` and `reduce` (ARNAS).
    """

    name: str
    status: Status
    source: Mapping[str, Any] | str
    cells: Mapping[str, Cell]

    def __post_init__(self) -> None:
        if set(self.cells) not in CELL_ROLES:
            known = " or ".join("/".join(sorted(roles)) for roles in CELL_ROLES)
            raise ZooError(f"The cells are named {sorted(self.cells)}; they must be {known}.")


class RobNetGenotype(Struct, frozen=True, tag_field="kind", tag="robnet"):
    """A RobNet architecture; `cells` holds one code that all cells share, or one for each cell.

    A cell's code has fourteen entries, ordered by node and then by source (RobNet, section 3.2).
    """

    name: str
    status: Status
    source: Mapping[str, Any] | str
    cells: tuple[tuple[RobNetCode, ...], ...]

    def __post_init__(self) -> None:
        if not self.cells:
            raise ZooError("A RobNet genotype needs the code of at least one cell.")
        for index, code in enumerate(self.cells):
            if len(code) != ROBNET_EDGES:
                raise ZooError(
                    f"Cell {index} has {len(code)} edge codes; a RobNet cell has {ROBNET_EDGES}."
                )
            if set(code) == {"00"}:
                raise ZooError(f"Cell {index} has no operation at all; give it at least one.")


Genotype = CellGenotype | RobNetGenotype


def robnet_nodes(code: tuple[str, ...]) -> Nodes:
    """Return a RobNet cell's edges by node: node i reads the states 0 to 1 + i, in that order."""
    edges = iter(code)
    return tuple(
        tuple((next(edges), source) for source in range(2 + node)) for node in range(ROBNET_NODES)
    )
