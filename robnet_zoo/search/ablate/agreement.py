"""How alike cells are: how far a search finds the same cell again from another seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from robnet_zoo.genotypes import CellGenotype, Genotype


def mean_agreement(genotypes: Sequence[Genotype]) -> float | None:
    """Return the mean of `agreement` over all pairs of two-edge cells; None without a pair."""
    cells = [genotype for genotype in genotypes if isinstance(genotype, CellGenotype)]
    pairs = list(combinations(cells, 2))
    return fmean(agreement(*pair) for pair in pairs) if pairs else None


def mean_of_pairs(
    first: Sequence[Genotype | None], second: Sequence[Genotype | None]
) -> float | None:
    """Return the mean of `agreement` over pairs, such as two variants' searches of one seed."""
    pairs = [
        (one, other)
        for one, other in zip(first, second, strict=True)
        if isinstance(one, CellGenotype) and isinstance(other, CellGenotype)
    ]
    return fmean(agreement(*pair) for pair in pairs) if pairs else None


def agreement(first: CellGenotype, second: CellGenotype) -> float:
    """Return the proportion of edges, by operation and the states they join, that two share."""
    roles = first.cells.keys() & second.cells.keys()
    pairs = [
        (Counter(one), Counter(other))
        for role in sorted(roles)
        for one, other in zip(first.cells[role].nodes, second.cells[role].nodes, strict=True)
    ]
    shared = sum((one & other).total() for one, other in pairs)
    return shared / sum(one.total() for one, _ in pairs)
