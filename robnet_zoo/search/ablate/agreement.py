"""How alike cells are: how far a search finds the same cell again from another seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from robnet_zoo.genotypes import CellGenotype, Genotype


def mean_agreement(genotypes: Sequence[Genotype]) -> float | None:
    """Return the mean of `agreement` over all pairs of genotypes; None where there is no pair."""
    pairs = list(combinations(genotypes, 2))
    return fmean(agreement(*pair) for pair in pairs) if pairs else None


def agreement(first: Genotype, second: Genotype) -> float:
    """Return the proportion of edges, by operation and the states they join, that two share."""
    assert isinstance(first, CellGenotype) and isinstance(second, CellGenotype)
    roles = first.cells.keys() & second.cells.keys()
    pairs = [
        (Counter(one), Counter(other))
        for role in sorted(roles)
        for one, other in zip(first.cells[role].nodes, second.cells[role].nodes, strict=True)
    ]
    shared = sum((one & other).total() for one, other in pairs)
    return shared / sum(one.total() for one, _ in pairs)
