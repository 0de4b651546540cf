"""RobNet's architecture codes: drawn at random, counted and written as text.

A network's architecture is a tuple of cell codes: one that all cells share, or one for each cell
(cell-free). A cell code has a two-character entry for each of the 14 edges, ordered by node and
then by source: the first character is 1 where the identity is present, the second where the
separable convolution is. The 28 characters are the paper's alpha (section 3.2).

A study's folder holds `study.csv`, a line for each architecture, with the columns `COLUMNS`:
`number` of the architecture, `code` as `to_text` writes it, `density`, `convs`, `identities` and
`parameters` as the functions here count them; accuracies as fractions: `clean` and `robust` after
fine-tuning, `robust_before` with inherited weights; `seconds` that it took; `state`, "complete"
where the line is usable (in other states, such as "failed", the rest may be empty).
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Iterable, Sequence

from robnet_zoo.genotypes import ROBNET_CODES
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.search.core.spaces import EDGES, NODES, SOURCES, TARGETS, robnet_space

Code = tuple[str, ...]
Codes = tuple[Code, ...]

COLUMNS = (
    "number",
    "code",
    "density",
    "convs",
    "identities",
    "parameters",
    "clean",
    "robust_before",
    "robust",
    "seconds",
    "state",
)
STATES = ("in0", "in1", "node0", "node1", "node2", "node3")
EDGE_NAMES = tuple(
    f"{STATES[source]}-{STATES[2 + target]}"
    for source, target in zip(SOURCES, TARGETS, strict=True)
)
FEATURE_NAMES = tuple(f"{name} {kind}" for name in EDGE_NAMES for kind in ("identity", "conv"))
INPUT_EDGES = tuple(edge for edge in range(EDGES) if SOURCES[edge] < 2)
# Section 3.2: direct edges lead from a state to the next one; all others are skip edges.
DIRECT_EDGES = tuple(edge for edge in range(EDGES) if SOURCES[edge] == TARGETS[edge] + 1)


def random_code(rng: random.Random, keep: float = 0.5) -> Code:
    """Draw a cell code whose every operation is present with probability `keep`.

    A node may be left without input, as in the paper, where every alpha but the empty one counts.
    Codes without any edge from the cell's two inputs (one in 65,536 at keep=0.5) are drawn again:
    such a network gives every image the same logits.

    Raises:
        ZooError: `keep` is not in (0, 1].
    """
    if not 0 < keep <= 1:
        raise ZooError(f"keep={keep} is not a probability that can be used; it lies in (0, 1].")
    while True:
        bits = ["01"[rng.random() < keep] for _ in range(2 * EDGES)]
        code = tuple(map(str.__add__, bits[::2], bits[1::2]))
        if any(code[edge] != "00" for edge in INPUT_EDGES):
            return code


def random_codes(rng: random.Random, cells: int = 1, keep: float = 0.5) -> Codes:
    """Draw the codes of a network: one that all cells share, or one for each of `cells`."""
    return tuple(random_code(rng, keep) for _ in range(cells))


def to_text(codes: Codes) -> str:
    """Return codes as text: edges apart by spaces, cells by "|"."""
    return "|".join(" ".join(code) for code in codes)


def from_text(text: str) -> Codes:
    """Return the codes that `to_text` wrote.

    Raises:
        ZooError: a cell without 14 entries, or an unknown entry.
    """
    codes = tuple(tuple(cell.split()) for cell in text.split("|"))
    for code in codes:
        if len(code) != EDGES:
            raise ZooError(f"The code '{' '.join(code)}' has {len(code)} edges; it needs {EDGES}.")
        for edge in code:
            if edge not in ROBNET_CODES:
                raise unknown_name("edge code", edge, ROBNET_CODES)
    return codes


def switches(code: Code) -> tuple[tuple[bool, bool], ...]:
    """Return each edge's (convolution, identity), the order of `spaces.ROBNET_OPERATIONS`."""
    return tuple((edge[1] == "1", edge[0] == "1") for edge in code)


def features(codes: Codes) -> list[int]:
    """Return alpha as 28 zeros and ones for each cell, in the order of `FEATURE_NAMES`."""
    return [int(bit) for code in codes for edge in code for bit in edge]


def density(codes: Codes) -> float:
    """Return the share of possible operations that is present (Eq. 2 with |E| = 28 a cell)."""
    bits = features(codes)
    return sum(bits) / len(bits)


def convolutions(codes: Codes, edges: Iterable[int] = range(EDGES)) -> int:
    """Count the convolutions on `edges`, over all `codes`."""
    wanted = tuple(edges)
    return sum(code[edge][1] == "1" for code in codes for edge in wanted)


def identities(codes: Codes, edges: Iterable[int] = range(EDGES)) -> int:
    """Count the identities on `edges`, over all `codes`."""
    wanted = tuple(edges)
    return sum(code[edge][0] == "1" for code in codes for edge in wanted)


def direct_convolutions(codes: Codes) -> int:
    """Count the convolutions on direct edges; those on skip edges are the others."""
    return convolutions(codes, DIRECT_EDGES)


def deep_cells(layers: int) -> range:
    """Return the cells that count as deep: the last third, from the second reduction on."""
    return range(2 * layers // 3, layers)


def deep_distance(distances: Sequence[float]) -> float:
    """Return the mean FSP distance of the deep cells, given that of each cell.

    These all have the same width, so that none outweighs the others by its number of channels.
    """
    return statistics.fmean(distances[cell] for cell in deep_cells(len(distances)))


def prices(
    cells: int, *, channels: int, layers: int, num_classes: int = 10, in_channels: int = 3
) -> tuple[int, list[int]]:
    """Return the parameters of a network without operations, and what each operation adds.

    Args:
        cells: 1 where all cells share a code, otherwise the number of layers.
        channels: the width C of the first cells.
        layers: the number of cells in the network.
        num_classes: the number of logits.
        in_channels: 3 for colour images, 1 for grey ones.

    Returns:
        The base, and the prices in the order of `features`.

    Raises:
        ZooError: neither one code nor one for each of the layers, or fewer than three layers.
    """
    if cells not in (1, layers):
        raise ZooError(f"{cells} cell codes do not fit layers={layers}; give 1 or {layers}.")
    older = newer = 3 * channels
    base = newer * (9 * in_channels + 2)  # stem: a convolution and its batch norm
    added = [0] * (2 * EDGES * cells)
    for index, slot in enumerate(robnet_space(layers, shared=True).slots):
        width = slot.multiple * channels
        base += (older + newer) * width  # both inputs, brought to the cell's width
        first = 2 * EDGES * (index % cells)
        for edge in range(EDGES):
            if slot.reduction and edge in INPUT_EDGES:  # there the identity is a 1x1 convolution
                added[first + 2 * edge] += width**2
            added[first + 2 * edge + 1] += 2 * width * (9 + width)
        older, newer = newer, NODES * width
    return base + (newer + 1) * num_classes, added


def count_parameters(
    codes: Codes, *, channels: int, layers: int, num_classes: int = 10, in_channels: int = 3
) -> int:
    """Return the parameters of the network that `build_network` makes of `codes`, unbuilt.

    Raises:
        ZooError: as `prices` does.
    """
    base, added = prices(
        len(codes),
        channels=channels,
        layers=layers,
        num_classes=num_classes,
        in_channels=in_channels,
    )
    return base + sum(itertools.compress(added, features(codes)))
