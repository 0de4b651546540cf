"""Proportions and how sure they are."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta, Struct

from robnet_zoo.runtime.decode import Count, Fraction, PositiveCount

Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution
Signed = Annotated[float, Meta(ge=-1, le=1)]


class Proportion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`correct` out of `n`, with its Wilson 95 % confidence interval (all as fractions)."""

    correct: Count
    n: PositiveCount
    accuracy: Fraction
    low: Fraction
    high: Fraction

    def __str__(self) -> str:
        return f"{100 * self.accuracy:.2f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def proportion(correct: int, n: int) -> Proportion:
    """Return correct / n with the Wilson score interval (Wilson 1927), right for small n too.

    Raises:
        ValueError: n is not positive, or correct lies outside 0..n.
    """
    if n <= 0 or not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} is not a proportion")
    accuracy = correct / n
    low, high = wilson(accuracy, n)
    return Proportion(correct=correct, n=n, accuracy=accuracy, low=low, high=high)


def wilson(accuracy: float, n: float) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a proportion of n, which may be an effective number."""
    centre = (accuracy + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    variance = accuracy * (1 - accuracy) / n + Z_95**2 / (4 * n**2)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(variance)
    return 0.0 if accuracy == 0 else centre - half, 1.0 if accuracy == 1 else centre + half


class PairedDifference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The difference of two proportions on the same images, first minus second.

    Attributes:
        difference: of the proportions, with `low` and `high`, its 95 % interval (fractions).
        only_first, only_second: images that count for one of the two alone.
        p_value: of McNemar's exact test that neither is better.
    """

    difference: Signed
    low: Signed
    high: Signed
    only_first: Count
    only_second: Count
    p_value: Fraction

    def __str__(self) -> str:
        return (
            f"{100 * self.difference:+.2f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        )


def paired_difference(
    both: int, only_first: int, only_second: int, neither: int
) -> PairedDifference:
    """Return the difference of two proportions that were measured on the same images.

    The interval is the square-and-add one of Newcombe (1998, Statistics in Medicine 17,
    2635-2650, method 10): the two Wilson intervals, joined by the correlation of the verdicts.
    The test is McNemar's (1947), by the exact binomial distribution of the images that differ.

    Args:
        both: images that count for both.
        only_first: images that count for the first alone.
        only_second: images that count for the second alone.
        neither: images that count for neither.

    Raises:
        ValueError: there are no images, or a count is negative.
    """
    n = both + only_first + only_second + neither
    if n <= 0 or min(both, only_first, only_second, neither) < 0:
        raise ValueError(f"{both}, {only_first}, {only_second}, {neither} are no counts of images")
    first, second = proportion(both + only_first, n), proportion(both + only_second, n)
    correlation = _correlation(both, only_first, only_second, neither)
    difference = (only_first - only_second) / n

    def reach(up: float, down: float) -> float:
        return math.sqrt(max(up**2 + down**2 - 2 * correlation * up * down, 0.0))

    low = difference - reach(first.accuracy - first.low, second.high - second.accuracy)
    high = difference + reach(first.high - first.accuracy, second.accuracy - second.low)
    return PairedDifference(
        difference=difference,
        low=max(low, -1.0),
        high=min(high, 1.0),
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test, from the images that differ."""
    trials, rare = only_first + only_second, min(only_first, only_second)
    ways, tail = 1, 0  # exact integers: no distribution has to be approximated
    for count in range(rare + 1):
        tail += ways
        ways = ways * (trials - count) // (count + 1)
    return min(1.0, 2 * tail / 2**trials)


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Return the phi coefficient with Newcombe's continuity correction, 0 where undefined."""
    n = both + only_first + only_second + neither
    product = both * neither - only_first * only_second
    corrected = product - n / 2 if product > n / 2 else min(product, 0)
    margins = (both + only_first) * (only_second + neither)
    margins *= (both + only_second) * (only_first + neither)
    return corrected / math.sqrt(margins) if margins else 0.0
