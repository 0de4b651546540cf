"""The checks of an evaluation's results, and of a sweep over several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robnet_zoo.eval.checks.registry import run_checks
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.check import Check
from robnet_zoo.eval.record.results import AttackResult


@dataclass(frozen=True, kw_only=True)
class Card:
    """What weights claim: the clean accuracy (a fraction) on the first n images of a split."""

    data: str
    split: str
    n: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Results:
    """What the checks of results look at.

    Attributes:
        record: of the evaluation; its own `checks` are not read.
        num_classes: classes of the data set, where known.
        card: what the weights claim, where they do.
        image_size: width of the images, in pixels, where known.
        usual_size: that of the images which the model is for, where known.
        swept: whether epsilon is one of many that a sweep goes through.
    """

    record: EvaluationRecord
    num_classes: int | None = None
    card: Card | None = None
    image_size: int | None = None
    usual_size: int | None = None
    swept: bool = False

    @property
    def attacks(self) -> tuple[AttackResult, ...]:
        """What each attack did."""
        return self.record.attacks


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Records of one model on the same images, the smallest epsilon first, under one attack."""

    records: Sequence[EvaluationRecord]
    attack: str

    @property
    def robust(self) -> list[tuple[str, int]]:
        """Each epsilon as text, and how many images survive the attack at it."""
        return [
            (record.threat_model.epsilon, record.attack(self.attack).robust.correct)
            for record in self.records
        ]


def check_results(
    record: EvaluationRecord,
    num_classes: int | None = None,
    card: Card | None = None,
    *,
    image_size: int | None = None,
    usual_size: int | None = None,
    swept: bool = False,
) -> tuple[Check, ...]:
    """Check whether the results of an evaluation can be trusted; takes no time.

    A check for which the evaluation holds nothing to compare is skipped, and says so.

    Args:
        record: the evaluation; its own `checks` are not read.
        num_classes: classes of the data set, where known.
        card: what the weights claim, where they do.
        image_size: width of the images, in pixels, where known.
        usual_size: that of the images which the model is for, where known.
        swept: whether epsilon is one of many that a sweep goes through.
    """
    return run_checks(
        "results",
        Results(
            record=record,
            num_classes=num_classes,
            card=card,
            image_size=image_size,
            usual_size=usual_size,
            swept=swept,
        ),
    )


def check_sweep(records: Sequence[EvaluationRecord], attack: str) -> tuple[Check, ...]:
    """Check that accuracy falls with epsilon, and to nothing where any image is allowed.

    Args:
        records: evaluations of one model on the same images under Linf, one a size.
        attack: name of the attack that is compared.
    """
    ordered = sorted(records, key=lambda record: record.threat_model.epsilon_value)
    return run_checks("sweep", Sweep(records=ordered, attack=attack))
