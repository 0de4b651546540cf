"""How a check says what it saw."""

from __future__ import annotations

from robnet_zoo.eval.record import Check


def finding(name: str, passed: bool, seen: str, remedy: str) -> Check:
    """Return a check whose detail is one sentence: what was seen, and what to do if it failed.

    Args:
        name: of the check.
        passed: whether the numbers can be trusted as far as this check can tell.
        seen: what was measured, without a full stop.
        remedy: what it means and what to do, without a full stop.
    """
    return Check(name=name, passed=passed, detail=f"{seen}." if passed else f"{seen}: {remedy}.")
