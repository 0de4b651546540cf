"""Architecture codes as typed data: what a searched network is made of, without torch.

Two kinds exist, told apart in JSON by `"kind"`:

- `"cells"` (`CellGenotype`): DARTS-like cells whose nodes add two edges each, one code for each
  role: `normal` and `reduce`, or ARNAS's `accurate`, `robust` and `reduce`.
- `"robnet"` (`RobNetGenotype`): RobNet's fully wired cells of four nodes and fourteen edges, each
  edge a two-character code; one shared cell, or one cell for each layer.

The published genotypes lie beside this module as JSON, with their sources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robnet_zoo.runtime.errors import ZooError, unknown_name

Edge = tuple[str, int]  # operation (or RobNet code) and the state that it reads
Nodes = tuple[tuple[Edge, ...], ...]  # the incoming edges of each intermediate node

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
ROBNET_CODES = ("00", "01", "10", "11")  # identity present, separable convolution present
ROBNET_NODES = 4
ROBNET_EDGES = 14
STATUSES = ("published", "reconstructed", "searched here")
CELL_ROLES = ({"normal", "reduce"}, {"accurate", "robust", "reduce"})


@dataclass(frozen=True)
class Cell:
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
                raise unknown_name("operation", str(operation), OPERATIONS)
            state = 2 + index // 2
            if type(source) is not int or not 0 <= source < state:
                raise ZooError(
                    f"Edge {index} enters node {state} and reads state {source!r}; "
                    f"it may read the states 0 to {state - 1}."
                )
        states = range(2, 2 + len(self.edges) // 2)
        if not self.concat or len(set(self.concat)) < len(self.concat):
            raise ZooError(f"concat {list(self.concat)} must name at least one node, each once.")
        if any(type(state) is not int or state not in states for state in self.concat):
            raise ZooError(f"concat {list(self.concat)} may only name the nodes 2 to {states[-1]}.")

    @property
    def nodes(self) -> Nodes:
        """The edges, grouped by the node that they enter."""
        return tuple(self.edges[i : i + 2] for i in range(0, len(self.edges), 2))


@dataclass(frozen=True)
class CellGenotype:
    """An architecture of two-edge cells; `cells` maps each role to its cell.

    The roles are `normal` and `reduce`, or `accurate`, `robust` and `reduce` (ARNAS).
    """

    name: str
    status: str
    source: Mapping[str, Any] | str
    cells: Mapping[str, Cell]

    def __post_init__(self) -> None:
        _check_labels(self.name, self.status)
        if set(self.cells) not in CELL_ROLES:
            known = " or ".join("/".join(sorted(roles)) for roles in CELL_ROLES)
            raise ZooError(f"The cells are named {sorted(self.cells)}; they must be {known}.")


@dataclass(frozen=True)
class RobNetGenotype:
    """A RobNet architecture; `cells` holds one code that all cells share, or one for each cell.

    A cell's code has fourteen entries, ordered by node and then by source (RobNet, section 3.2).
    """

    name: str
    status: str
    source: Mapping[str, Any] | str
    cells: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        _check_labels(self.name, self.status)
        if not self.cells:
            raise ZooError("A RobNet genotype needs the code of at least one cell.")
        for index, code in enumerate(self.cells):
            if len(code) != ROBNET_EDGES:
                raise ZooError(
                    f"Cell {index} has {len(code)} edge codes; a RobNet cell has {ROBNET_EDGES}."
                )
            for edge in code:
                if edge not in ROBNET_CODES:
                    raise unknown_name(f"edge code in cell {index}:", str(edge), ROBNET_CODES)
            if set(code) == {"00"}:
                raise ZooError(f"Cell {index} has no operation at all; give it at least one.")


Genotype = CellGenotype | RobNetGenotype


def _check_labels(name: str, status: str) -> None:
    if not isinstance(name, str) or not name:
        raise ZooError(f"The genotype's name is {name!r}; it must be a text.")
    if status not in STATUSES:
        raise unknown_name("genotype status", str(status), STATUSES)


def robnet_nodes(code: tuple[str, ...]) -> Nodes:
    """Return a RobNet cell's edges by node: node i reads the states 0 to 1 + i, in that order."""
    edges = iter(code)
    return tuple(
        tuple((next(edges), source) for source in range(2 + node)) for node in range(ROBNET_NODES)
    )


def genotype_from_dict(value: Any) -> Genotype:
    """Return the genotype that a decoded JSON object describes.

    Raises:
        ZooError: the object is not a genotype, or names operations or states that do not exist.
    """
    try:
        kind, cells = value["kind"], value["cells"]
        about = {key: value[key] for key in ("name", "status", "source")}
        if kind == "robnet":
            return RobNetGenotype(**about, cells=tuple(tuple(code) for code in cells))
        if kind == "cells":
            return CellGenotype(
                **about,
                cells={
                    role: Cell(
                        tuple((operation, source) for operation, source in cell["edges"]),
                        tuple(cell["concat"]),
                    )
                    for role, cell in cells.items()
                },
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ZooError(
            "This is not a genotype; it must be an object with kind, name, status, source and "
            f"cells, written like the published ones ({type(error).__name__}: {error})."
        ) from error
    raise unknown_name("genotype kind", str(kind), ("cells", "robnet"))


def genotype_to_dict(genotype: Genotype) -> dict[str, Any]:
    """Return the JSON form of a genotype, which `genotype_from_dict` reads."""
    kind = "robnet" if isinstance(genotype, RobNetGenotype) else "cells"
    # Through JSON once: tuples become the lists that a reader of the file would see.
    return json.loads(json.dumps({"kind": kind, **asdict(genotype)}))


def read_genotype(path: str | Path) -> Genotype:
    """Read a genotype from a JSON file.

    Raises:
        ZooError: the file cannot be read, is not JSON or is not a genotype.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ZooError(f"Cannot read the genotype file '{path}': {reason}.") from error
    except (ValueError, RecursionError) as error:
        raise ZooError(f"The genotype file '{path}' is not JSON: {error}.") from error
    try:
        return genotype_from_dict(value)
    except ZooError as error:
        raise ZooError(f"Genotype file '{path}': {error}") from error


def published_names() -> list[str]:
    """Return the names of the genotypes that come with the package."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.json"))


def published(name: str) -> Genotype:
    """Return a genotype that comes with the package, such as "racl" or "robnet_free".

    Raises:
        ZooError: no such genotype; the nearest names are shown.
    """
    if name not in published_names():
        raise unknown_name("genotype", name, published_names())
    return read_genotype(Path(__file__).parent / f"{name}.json")
