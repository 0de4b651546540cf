"""Proportions and how sure they are."""

from __future__ import annotations

import math

from msgspec import Struct

from robnet_zoo.runtime.decode import Count, Fraction, PositiveCount

Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution


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
    centre = (accuracy + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    variance = accuracy * (1 - accuracy) / n + Z_95**2 / (4 * n**2)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(variance)
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == n else centre + half
    return Proportion(correct=correct, n=n, accuracy=accuracy, low=low, high=high)
