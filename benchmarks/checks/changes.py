"""All changes of the trial, in two sets.

The first was written down before any run. What the checks missed of it led to `local-linearity`
and `survivors`, so that on it the counts are a fit. The second was written down after that, and
before any run of its own; since then the limits of `survivors` have moved once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.checks import (
    activations,
    ensembles,
    filters,
    gradients,
    logits,
    scales,
    temperatures,
    waves,
)
from benchmarks.checks.changed import Change

Set = Literal["first", "second"]
SETS: tuple[tuple[Set, str], ...] = (("first", "FIRST"), ("second", "SECOND"))
MODULES = (scales, temperatures, logits, waves, filters, gradients, activations, ensembles)


@dataclass(frozen=True, kw_only=True)
class NamedChange:
    """A change of the trial.

    Attributes:
        name: what it does, in words.
        set: which of the two it belongs to.
        apply: from a network, which it may alter, to the changed one, in eval mode.
        keeps_decisions: on test images the class is that of the unchanged network, nearly always.
    """

    name: str
    set: Set
    apply: Change
    keeps_decisions: bool


CHANGES = tuple(
    NamedChange(
        name=name,
        set=which,
        apply=change,
        keeps_decisions=name not in module.OTHER_DECISIONS,
    )
    for which, key in SETS
    for module in MODULES
    for name, change in getattr(module, key).items()
)
