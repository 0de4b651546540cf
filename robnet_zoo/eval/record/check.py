"""What a record says of a check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check of whether the numbers can be trusted, such as one for gradient masking.

    A check that is `skipped` had nothing to look at: it neither failed nor says anything.
    """

    name: str
    passed: bool
    detail: str
    skipped: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def verdict(self) -> Literal["passed", "failed", "skipped"]:
        """What it says."""
        if self.skipped is True:
            return "skipped"
        return "passed" if self.passed else "failed"

    @classmethod
    def make(cls, name: str, passed: bool, seen: str, remedy: str) -> Check:
        """Return a check whose detail is a sentence: what was seen, and what to do if it failed.

        Args:
            name: of the check.
            passed: whether the numbers can be trusted as far as this check can tell.
            seen: what was measured, without a full stop.
            remedy: what it means and what to do, without a full stop.
        """
        return cls(name=name, passed=passed, detail=f"{seen}." if passed else f"{seen}: {remedy}.")

    @classmethod
    def skip(cls, name: str, why: str) -> Check:
        """Return a check that had nothing to look at; `why` has no full stop."""
        return cls(name=name, passed=True, detail=f"{why}.", skipped=True)


def having(checks: Iterable[Check], verdict: Literal["passed", "failed", "skipped"]) -> list[Check]:
    """Return the checks with this verdict."""
    return [check for check in checks if check.verdict == verdict]


def summary(checks: Iterable[Check]) -> str:
    """Return such as "15 passed, 1 failed, 2 had nothing to look at (card, black-box)"."""
    checks = list(checks)
    failed, skipped = having(checks, "failed"), having(checks, "skipped")
    said = [f"{len(having(checks, 'passed'))} passed"]
    if failed:
        said.append(f"{len(failed)} failed")
    if skipped:
        names = ", ".join(check.name for check in skipped)
        said.append(f"{len(skipped)} had nothing to look at ({names})")
    return ", ".join(said)
