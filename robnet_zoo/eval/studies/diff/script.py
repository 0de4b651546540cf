"""Which setting explains an accuracy that somebody's own script gave for the same weights.

Only the number is known, so several settings may explain it: the list is where to look first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from msgspec import Struct

from robnet_zoo.eval.record.fields import bits, proportion_of
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo, ThreatInfo
from robnet_zoo.eval.studies.diff.explanation import Change
from robnet_zoo.eval.studies.diff.kernel import PgdRunner, PgdSettings
from robnet_zoo.runtime.decode import Fraction
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion

SCHEMA = "robnet_zoo.diff_script/1"
STEPS = (1, 7, 10, 20, 40, 50, 100)
STEP_SIZES = (1 / 255, 2 / 255)  # whatever epsilon is
PARTS = (1 / 30, 1 / 10, 1 / 4)  # of epsilon, as lengths of a step
LENGTH = 2.5  # epsilons that all steps together are long, of Madry's challenge


class Guess(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our attack with settings that scripts often have, and how far it is from their accuracy."""

    changes: tuple[Change, ...]
    robust: Proportion
    distance: Fraction

    def __str__(self) -> str:
        return " and ".join(map(str, self.changes))


class Guesses(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="schema", tag=SCHEMA
):
    """Settings that may explain another accuracy, the nearest first."""

    model: ModelInfo
    data: DataInfo
    threat_model: ThreatInfo
    attack: str
    accuracy: Fraction
    ours: Proportion
    guesses: tuple[Guess, ...]

    @property
    def conclusion(self) -> str:
        """What comes nearest, in a sentence."""
        gap, best = abs(self.ours.accuracy - self.accuracy), self.guesses[0]
        if gap < 1 / self.data.n:
            return "Ours is their accuracy, to less than one image."
        if best.distance >= gap:
            return f"No setting comes nearer to {100 * self.accuracy:.2f} % than ours."
        return (
            f"Nearest to {100 * self.accuracy:.2f} %, with {100 * best.robust.accuracy:.2f} %, is "
            f"our attack when {best}."
        )


def guess(runner: PgdRunner, accuracy: float, *, model: ModelInfo, data: DataInfo) -> Guesses:
    """Try what scripts often do otherwise, one at a time, against an accuracy.

    Args:
        runner: our attack on the model and images.
        accuracy: theirs, as a fraction, on the same images.
        model: what the result says about it.
        data: what it says about the images.

    Raises:
        ZooError: an accuracy that is none.
    """
    if not 0 <= accuracy <= 1:
        raise ZooError(f"Accuracy {100 * accuracy:g} is out of range; give percent, such as 47.3.")
    ours = runner.ours
    guesses = []
    for values in _habits(ours):
        robust = proportion_of(bits(runner.run(replace(ours, **values))))
        guesses.append(
            Guess(
                changes=tuple(
                    Change.of(name, getattr(ours, name), value) for name, value in values.items()
                ),
                robust=robust,
                distance=abs(robust.accuracy - accuracy),
            )
        )
    return Guesses(
        model=model,
        data=data,
        threat_model=ThreatInfo.of(runner.case.threat_model),
        attack=runner.attack.name,
        accuracy=accuracy,
        ours=proportion_of(bits(runner.run(ours))),
        guesses=tuple(sorted(guesses, key=lambda it: it.distance)),
    )


def _habits(ours: PgdSettings) -> Iterator[Mapping[str, Any]]:
    """Yield what scripts do otherwise, where that differs from ours."""
    steps = ours.steps
    habits: list[dict[str, Any]] = [
        {"judged": "last"},
        {"clean_mistakes": "attacked"},
        {"judged": "last", "clean_mistakes": "attacked"},
        {"start": "clean", "restarts": 1},
        {"restarts": 1},
        {"epsilon": int(ours.epsilon * 1000) / 1000},  # 0.031 for 8/255
        {"epsilon": int(ours.epsilon * 100) / 100},
        *({"steps": count} for count in STEPS),
        *({"step_size": size} for size in STEP_SIZES),
        *({"step_size": ours.epsilon * part} for part in PARTS),
        {"step_size": LENGTH * ours.epsilon / steps},
        {"steps": 10, "step_size": 2 / 255},  # of torchattacks
        {"steps": 40, "step_size": ours.epsilon / 30},  # of foolbox
    ]
    seen: list[dict[str, Any]] = []
    for habit in habits:
        values = {key: value for key, value in habit.items() if value != getattr(ours, key)}
        if values and values not in seen and values.get("epsilon", 1) > 0:
            seen.append(values)
            yield values
