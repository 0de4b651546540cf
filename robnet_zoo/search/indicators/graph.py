"""The shape of a cell's graph: how deep, how wide, how densely connected."""

from __future__ import annotations

from collections.abc import Callable

from robnet_zoo.genotypes import Nodes
from robnet_zoo.search.indicators.candidate import Candidate
from robnet_zoo.search.indicators.counts import ROBNET, entering
from robnet_zoo.search.indicators.registry import indicator

SHU = "Shu, Wang and Cai, ICLR 2020"  # who measured depth and width of cells


def longest(nodes: Nodes, length: Callable[[str], int]) -> list[int]:
    """Return for each state the length of the longest way to it from one of the cell's inputs.

    Args:
        nodes: the edges of each, which run from earlier states to later ones.
        length: of an edge, by its operation; "none" is no edge.
    """
    depths = [0, 0] + [0] * len(nodes)
    for operation, source, state in entering(nodes):
        if operation != "none":
            depths[state] = max(depths[state], depths[source] + length(operation))
    return depths


@indicator("depth", stage="cell", meaning="edges on the longest way through both cells", source=SHU)
def depth(candidate: Candidate) -> float:
    """Return the longest ways through both cells, added up."""
    return _deepest(candidate, lambda operation: 1)


@indicator(
    "convolution_depth",
    stage="cell",
    meaning="convolutions on the way through both cells that has most of them",
)
def convolution_depth(candidate: Candidate) -> float:
    """Return the most convolutions on a way through the normal and through the reduction cell."""
    return _deepest(candidate, lambda operation: int("conv_" in operation))


@indicator(
    "width", stage="cell", meaning="edges that read the inputs of a cell, in both cells", source=SHU
)
def width(candidate: Candidate) -> float:
    """Return how many edges read the inputs of their cell."""
    return candidate.both(
        lambda nodes: sum(
            source < 2 and operation != "none" for operation, source, _ in entering(nodes)
        )
    )


@indicator("density", stage="cell", meaning="edges that there are, of all possible", source=ROBNET)
def density(candidate: Candidate) -> float:
    """Return the mean density of connections D of both cells (RobNet, Eq. 2)."""

    def joined(nodes: Nodes) -> float:
        possible = sum(2 + number for number in range(len(nodes)))
        edges = entering(nodes)
        return len({(source, state) for name, source, state in edges if name != "none"}) / possible

    return candidate.both(joined) / 2


def _deepest(candidate: Candidate, length: Callable[[str], int]) -> float:
    return candidate.both(lambda nodes: max(longest(nodes, length)))
