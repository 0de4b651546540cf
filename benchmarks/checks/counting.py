"""How many false lifts the checks name, counted from the rows of a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
POINTS = (3, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Count:
    """False lifts of so many points or more, and those that no check names."""

    points: float
    cases: int
    missed: int

    @property
    def named(self) -> int:
        """False lifts on which a check failed."""
        return self.cases - self.missed


def false_lift(case: Row) -> float:
    """Return by how many points a change lifts the robust accuracy falsely; 0 for an error.

    That is the lift, but no more than images made on the unchanged network break: the rest may be
    robustness. These images break some survivors of the unchanged network, too, so that the lift
    itself is the other bound.
    """
    return 0.0 if case["error"] else min(case["lift"], case["false"])


def false_lifts(cases: Iterable[Row], points: float) -> list[Row]:
    """Return the cases with a false lift of so many points or more."""
    return [case for case in cases if false_lift(case) >= points]


def missed(cases: Iterable[Row], points: float = POINTS[0]) -> list[Row]:
    """Return the false lifts that no check names, the largest first."""
    left = [case for case in false_lifts(cases, points) if not case["failed_checks"]]
    return sorted(left, key=lambda case: -false_lift(case))


def count(cases: Sequence[Row], points: float) -> Count:
    """Count the false lifts of so many points or more."""
    lifts, left = false_lifts(cases, points), missed(cases, points)
    return Count(points=points, cases=len(lifts), missed=len(left))


def of_set(rows: Iterable[Row], which: str) -> list[Row]:
    """Return the rows of one set."""
    return [row for row in rows if row["set"] == which]


def sets(rows: Iterable[Row]) -> list[str]:
    """Return the names of the sets, in the order of the rows."""
    return list(dict.fromkeys(row["set"] for row in rows))


def alarms(row: Row) -> dict[str, list[str]]:
    """Return the checks that failed on an honest network, by what was attacked."""
    return {"as usual": list(row["failed_checks"]), **row["failed_at_other_sizes"]}
