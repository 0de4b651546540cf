"""AutoAttack (Croce and Hein 2020): four attacks in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from robnet_zoo.attacks.base import Attack, Suite
from robnet_zoo.attacks.methods.apgd import Apgd
from robnet_zoo.attacks.methods.fab import Fab
from robnet_zoo.attacks.methods.square import Square
from robnet_zoo.attacks.table import ATTACKS
from robnet_zoo.threat_models import GRADIENT_NORMS, ThreatModel

MARGIN = "pgd-margin"
UNDER_L1: dict[str, dict[str, Any]] = {"ce": {"restarts": 5}, "dlr-targeted": {"target_classes": 5}}


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Suite):
    """A version of AutoAttack, with what its authors change from one threat model to another."""

    def fitted(self, threat_model: ThreatModel, classes: int) -> Suite:
        """Return the suite as it runs under a threat model on a model of so many classes.

        Under L1 the standard version restarts apgd-ce 5 times and gives apgd-t 5 targets. The loss
        of apgd-t needs four classes and that of apgd-dlr three: where there are fewer, another
        attack on the margin takes their place, and a note says so.
        """
        parts, notes = [], []
        for part in self.parts:
            chosen: Attack | None = part
            if isinstance(part, Apgd):
                if threat_model.norm == "L1" and self.name == "autoattack":
                    chosen = part = replace(part, **UNDER_L1.get(part.loss, {}))
                if classes < part.least_classes:
                    chosen = _stand_in(part, threat_model, classes)
                    place = "it is left out" if chosen is None else f"{chosen.name} takes its place"
                    notes.append(
                        f"{part.name} needs at least {part.least_classes} classes and this model "
                        f"has {classes}: {place}."
                    )
            parts += [] if chosen is None else [chosen]
        return replace(self, parts=tuple(parts), notes=tuple(notes))


def _stand_in(part: Apgd, threat_model: ThreatModel, classes: int) -> Attack | None:
    """Return an attack on the margin that is defined for so few classes, None if there is none."""
    untargeted = replace(part, name="apgd-dlr", loss="dlr")
    if classes >= untargeted.least_classes:
        return untargeted
    if threat_model.norm not in GRADIENT_NORMS or part.eot > 1:
        return None
    return cast(Attack, ATTACKS[MARGIN].build(name=MARGIN))


def standard(name: str) -> Suite:
    """Return the standard version."""
    return AutoAttack(
        name=name,
        parts=(
            Apgd(name="apgd-ce"),
            Apgd(name="apgd-t", loss="dlr-targeted"),
            Fab(name="fab-t"),
            Square(name="square"),
        ),
    )


def rand(name: str) -> Suite:
    """Return the version for randomised models: 20 gradients averaged a step."""
    return AutoAttack(
        name=name,
        parts=(
            Apgd(name="apgd-ce", eot=20),
            Apgd(name="apgd-dlr", loss="dlr", eot=20),
        ),
    )
