"""How many images one result misses that another finds, and from when on that counts."""

from __future__ import annotations

from collections.abc import Sequence

from robnet_zoo.eval.checks.registry import Finding, Skipped

ENOUGH = 20  # images on which two results can be compared
MANY = 100  # images from which chance may move two of them, rather than one

Gaps = Sequence[tuple[int, str]]  # images something missed, and a sentence with {} for them


def allowed(limit: float, n: int) -> float:
    """Return how many images a result may miss, by a limit in parts of n.

    No difference of one image, or of two from a hundred on, is held against a result.
    """
    return max(limit * n, 1 + (n >= MANY))


def largest(gaps: Gaps, limit: float, n: int, remedy: str, nothing: str) -> Finding | Skipped:
    """Return a finding on the largest gap.

    Args:
        gaps: images that something missed, and a sentence with {} for them.
        limit: in parts of n.
        n: images in all.
        remedy: what to do where the gap is larger than that.
        nothing: why there are no gaps to look at.
    """
    if not gaps:
        return Skipped(nothing)
    missed, seen = max(gaps)
    fits = missed <= allowed(limit, n)
    if fits and n < ENOUGH:
        return Skipped(f"On {n} images two results cannot be told apart")
    return fits, seen.format(f"{max(missed, 0)} of {n} images"), remedy
