"""A check is one function with one decorator; records and docs/trust.md hold what is registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from robnet_zoo.eval.record.check import Check
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.tables import markdown_table

Kind = Literal["model", "state", "survivors", "results", "sweep"]
Finding = tuple[bool, str, str]  # whether it passed, what was seen, what to do where it failed


@dataclass(frozen=True)
class Skipped:
    """What a check returns where there is nothing to look at: why, without a full stop."""

    why: str = "There is nothing to look at"


Look = TypeVar("Look", bound=Callable[[Any], Finding | Skipped | None])


@dataclass(frozen=True, kw_only=True)
class RegisteredCheck:
    """A check as `check` describes it."""

    name: str
    kind: Kind
    catches: str
    fails_if: str
    needs: tuple[str, ...]
    after_all: bool
    look: Callable[[Any], Finding | Skipped | None]


_CHECKS: dict[str, RegisteredCheck] = {}


def check(
    name: str,
    *,
    kind: Kind,
    catches: str,
    fails_if: str,
    needs: tuple[str, ...] = (),
    after_all: bool = False,
) -> Callable[[Look], Look]:
    """Register a function as a check, which then runs in every evaluation of its kind.

    The function takes what is to be checked and returns a finding: whether it passed, a sentence
    of what was seen, and one of what to do where it failed, both without a full stop. Where there
    is nothing to look at, it returns `Skipped` with the reason, or None; the record says so.

    Args:
        name: of the check in records.
        kind: what the function takes: a `ModelUnderTest` before the attacks ("model"), a
            `StateBefore` or the `Survivors` behind them ("state", "survivors"), the `Results` of
            an evaluation ("results"), or the `Sweep` of several ("sweep").
        catches: what makes it fail, for docs/trust.md.
        fails_if: its limits, for docs/trust.md.
        needs: checks of the same kind without which it says nothing: it is skipped unless they
            passed.
        after_all: run it when the others of its kind have run; its place in records stays.

    Raises:
        ZooError: the name is taken, the kind is none, or a check that it needs is not known.
    """
    if name in _CHECKS:
        raise ZooError(f"There is a check '{name}' already; give this one another name.")
    if kind not in get_args(Kind):
        raise unknown_name("kind of check", kind, get_args(Kind))
    known = [other.name for other in registered(kind)]
    for need in needs:
        if need not in known:
            raise unknown_name(f"{kind} check", need, known)

    def register(look: Look) -> Look:
        _CHECKS[name] = RegisteredCheck(
            name=name,
            kind=kind,
            catches=catches,
            fails_if=fails_if,
            needs=needs,
            after_all=after_all or any(_CHECKS[need].after_all for need in needs),
            look=look,
        )
        return look

    return register


def registered(*kinds: Kind) -> tuple[RegisteredCheck, ...]:
    """Return the checks of these kinds, one kind after the other, in the order of records."""
    return tuple(known for kind in kinds for known in _CHECKS.values() if known.kind == kind)


def run_checks(kind: Kind, subject: Any) -> tuple[Check, ...]:
    """Return what the checks of a kind say, in the order of records."""
    checks: dict[str, Check] = {}
    for known in sorted(registered(kind), key=lambda known: known.after_all):
        unmet = [need for need in known.needs if checks[need].verdict != "passed"]
        finding = Skipped(_unmet(checks[unmet[0]])) if unmet else known.look(subject) or Skipped()
        if isinstance(finding, Skipped):
            checks[known.name] = Check.skip(known.name, finding.why)
        else:
            checks[known.name] = Check.make(known.name, *finding)
    return tuple(checks[known.name] for known in registered(kind))


def _unmet(need: Check) -> str:
    """Return why a check that needs this one says nothing."""
    happened = "failed" if need.verdict == "failed" else "had nothing to look at"
    return f"It says nothing where '{need.name}' {happened}"


def checks_table(*kinds: Kind) -> str:
    """Return a table of the checks of these kinds in Markdown, as docs/trust.md shows it."""
    rows = [[f"`{known.name}`", known.catches, known.fails_if] for known in registered(*kinds)]
    return markdown_table(["check", "what it catches", "fails if"], rows)
