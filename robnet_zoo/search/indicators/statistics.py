"""How an indicator goes with robust accuracy: rank correlations, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Column = NDArray[np.float64]
RESAMPLES = 1000
LEVEL, POWER = 0.05, 0.8


class Association(Struct, frozen=True, kw_only=True):
    """Kendall's tau (b, which allows for ties) of an indicator with an accuracy.

    Attributes:
        tau: the coefficient.
        low, high: its 95 % interval, from resampled cells.
        p_value: of no association, two-sided.
        p_corrected: the same, allowing for all indicators that were tried (Holm).
        partial: tau that is left beside what is already known of a cell; None for that itself.
        partial_low, partial_high: its 95 % interval.
        n: cells.
    """

    tau: float
    low: float
    high: float
    p_value: float
    p_corrected: float
    partial: float | None
    partial_low: float | None
    partial_high: float | None
    n: int


def associations(
    columns: Mapping[str, Column], target: Column, known: Sequence[str] = (), *, seed: int = 0
) -> dict[str, Association]:
    """Return how each indicator goes with the target.

    Args:
        columns: an indicator's values, by its name; one that is the same everywhere is left out.
        target: an accuracy of the same cells.
        known: indicators that a partial tau holds fixed, such as "convolutions".
        seed: of the resampled cells.
    """
    from scipy.stats import kendalltau

    varied = {name: column for name, column in columns.items() if np.ptp(column) > 0}
    p_values = {name: float(kendalltau(column, target).pvalue) for name, column in varied.items()}
    corrected = holm(p_values)
    rng = np.random.default_rng(seed)
    samples = rng.integers(len(target), size=(RESAMPLES, len(target)))
    fixed = [varied[name] for name in known]
    results = {}
    for name, column in varied.items():
        draws = [_tau(column[sample], target[sample]) for sample in samples]
        low, high = np.nanquantile(draws, (0.025, 0.975))
        left: list[float | None] = [None, None, None]
        if name not in known and fixed:
            table = np.stack([column, target, *fixed])
            partials = [partial_tau(table[:, sample]) for sample in samples[: RESAMPLES // 2]]
            left = [partial_tau(table), *np.nanquantile(partials, (0.025, 0.975)).tolist()]
        results[name] = Association(
            tau=_tau(column, target),
            low=float(low),
            high=float(high),
            p_value=p_values[name],
            p_corrected=corrected[name],
            partial=left[0],
            partial_low=left[1],
            partial_high=left[2],
            n=len(target),
        )
    return results


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values that hold for all hypotheses together (Holm 1979)."""
    ordered, corrected, largest = sorted(p_values, key=p_values.__getitem__), {}, 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def partial_tau(table: Column) -> float:
    """Return Kendall's tau of the first two rows (rows, n), all others held fixed.

    It is read off the inverse of the matrix of all pairs' taus, as a partial correlation is. Not a
    number where rows cannot be told apart.
    """
    rows = len(table)
    matrix = np.eye(rows)
    for first in range(rows):
        for second in range(first):
            matrix[first, second] = matrix[second, first] = _tau(table[first], table[second])
    try:
        inverse = np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return math.nan
    scale = inverse[0, 0] * inverse[1, 1]
    return float(-inverse[0, 1] / math.sqrt(scale)) if scale > 0 else math.nan


def detectable_tau(n: int, hypotheses: int = 1) -> float:
    """Return the least tau that n cells show with a power of 80 % at the 5 % level.

    Args:
        n: cells.
        hypotheses: that are tried, each of which the level is divided by (Bonferroni).
    """
    normal = NormalDist()
    error = math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))  # of tau without association
    return (normal.inv_cdf(1 - LEVEL / (2 * hypotheses)) + normal.inv_cdf(POWER)) * error


def _tau(x: Column, y: Column) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(x, y).statistic)
