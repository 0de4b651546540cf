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
SINGULAR = 1e-12
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


class Repeat(Struct, frozen=True, kw_only=True):
    """How far two measurements of the same cells agree.

    Attributes:
        tau: Kendall's tau of the two.
        low, high: its 95 % interval, from resampled cells.
        noise: the part of one measurement's variance that the other does not share.
        noise_low, noise_high: its 95 % interval.
        reachable: the tau with one measurement that the noise leaves to an indicator which knows
            all else, where values are normal.
        n: cells.
    """

    tau: float
    low: float
    high: float
    noise: float
    noise_low: float
    noise_high: float
    reachable: float
    n: int


def repeat(first: Column, second: Column, *, seed: int = 0) -> Repeat:
    """Return how far two measurements of the same cells agree.

    A difference that all cells share is no noise.

    Args:
        first: an accuracy of each cell.
        second: the same, measured once more.
        seed: of the resampled cells.
    """
    agreement = associations({"second": second}, first, seed=seed)["second"]
    n = len(first)
    drawn = np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
    noises = np.array([_noise(first[each], second[each]) for each in drawn])
    noise = _noise(first, second)
    return Repeat(
        tau=agreement.tau,
        low=agreement.low,
        high=agreement.high,
        noise=noise,
        noise_low=float(np.nanquantile(noises, 0.025)),
        noise_high=float(np.nanquantile(noises, 0.975)),
        reachable=2 / math.pi * math.asin(math.sqrt(1 - min(1.0, noise))),
        n=n,
    )


def _noise(first: Column, second: Column) -> float:
    variance = (first.var() + second.var()) / 2
    return float((first - second).var() / 2 / variance) if variance > 0 else math.nan


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
    n = len(target)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    weights = np.concatenate([np.ones((1, n)), drawn])  # first of all, every cell once
    order, fixed = signs(target), [signs(varied[name]) for name in known]
    results = {}
    for name, column in varied.items():
        own = signs(column)
        taus = weighted_taus(own, order, weights)
        low, high = np.nanquantile(taus[1:], (0.025, 0.975))
        left: list[float | None] = [None, None, None]
        if name not in known and fixed:
            partials = partial_taus([own, order, *fixed], weights)
            left = [float(partials[0]), *np.nanquantile(partials[1:], (0.025, 0.975)).tolist()]
        results[name] = Association(
            tau=float(taus[0]),
            low=float(low),
            high=float(high),
            p_value=p_values[name],
            p_corrected=corrected[name],
            partial=left[0],
            partial_low=left[1],
            partial_high=left[2],
            n=n,
        )
    return results


def signs(values: Column) -> Column:
    """Return for each pair of cells which of them has the larger value: 1, -1 or 0 (n, n)."""
    return np.sign(values[:, None] - values[None, :])


def weighted_taus(first: Column, second: Column, weights: Column) -> Column:
    """Return Kendall's tau-b under each weighting of the cells.

    A cell of weight k counts as k cells that are tied with one another.

    Args:
        first: signs of the pairs (n, n) of one variable.
        second: the same of the other.
        weights: (weightings, n).
    """

    def pairs(matrix: Column) -> Column:
        return np.einsum("bi,bi->b", weights @ matrix, weights)

    untied = np.sqrt(pairs(np.abs(first)) * pairs(np.abs(second)))
    with np.errstate(invalid="ignore"):
        return pairs(first * second) / np.where(untied > 0, untied, np.nan)


def partial_taus(rows: Sequence[Column], weights: Column) -> Column:
    """Return tau of the first two rows with all others held fixed, under each weighting.

    It is read off the inverse of the matrix of all pairs' taus, as a partial correlation is. Not a
    number where rows cannot be told apart.

    Args:
        rows: signs of the pairs (n, n), of each variable.
        weights: (weightings, n).
    """
    matrix = np.tile(np.eye(len(rows)), (len(weights), 1, 1))
    for i, row in enumerate(rows):
        for j in range(i):
            matrix[:, i, j] = matrix[:, j, i] = weighted_taus(row, rows[j], weights)
    partials = np.full(len(weights), np.nan)
    for number, each in enumerate(matrix):
        if np.isfinite(each).all() and abs(np.linalg.det(each)) > SINGULAR:
            inverse = np.linalg.inv(each)
            scale = inverse[0, 0] * inverse[1, 1]
            partials[number] = -inverse[0, 1] / math.sqrt(scale) if scale > 0 else np.nan
    return partials


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values that hold for all hypotheses together (Holm 1979)."""
    ordered, corrected, largest = sorted(p_values, key=p_values.__getitem__), {}, 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def detectable_tau(n: int, hypotheses: int = 1) -> float:
    """Return the least tau that n cells show with a power of 80 % at the 5 % level.

    Args:
        n: cells.
        hypotheses: that are tried, each of which the level is divided by (Bonferroni).
    """
    normal = NormalDist()
    error = math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))  # of tau without association
    return (normal.inv_cdf(1 - LEVEL / (2 * hypotheses)) + normal.inv_cdf(POWER)) * error
