"""Whether the numbers of a report add up, and agree with what is known of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robnet_zoo.attacks.verdicts import TOLERANCE
from robnet_zoo.eval.checks.finding import finding
from robnet_zoo.eval.record import Check, EvaluationRecord

CARD = 0.0005  # of accuracy: 0.05 percentage points


@dataclass(frozen=True, kw_only=True)
class Card:
    """What weights claim: the clean accuracy (a fraction) on the first n images of a split."""

    data: str
    split: str
    n: int
    accuracy: float


def check_sums(report: EvaluationRecord) -> Check:
    """An image counts as robust only if it is right and survives every attack."""
    rows = [
        ("clean", report.clean.verdicts, report.clean.accuracy),
        *((one.name, one.verdicts, one.robust) for one in report.attacks),
    ]
    total = "".join(map(min, *(verdicts for _, verdicts, _ in rows), report.clean.verdicts))
    wrong = [] if total == report.totals.verdicts else ["all attacks"]
    for name, verdicts, found in (*rows, ("all attacks", total, report.totals.robust)):
        if (found.correct, found.n) != (verdicts.count("1"), report.data.n):
            wrong.append(name)
    for one in report.attacks:
        left = report.clean.accuracy.correct - sum(part.broken for part in one.parts)
        if one.parts and left != one.robust.correct:
            wrong.append(one.name)
    return finding(
        "worst-case",
        not wrong,
        f"The verdicts and counts of {', '.join(dict.fromkeys(wrong))} disagree"
        if wrong
        else "Robust are the images that survive every attack, out of all that were judged",
        "the report was altered or put together wrongly; evaluate again",
    )


def check_perturbations(report: EvaluationRecord) -> Iterator[Check]:
    """Every image that was judged lies within epsilon, as the harness measured it."""
    if not report.attacks:
        return
    worst = max(report.attacks, key=lambda one: (one.over_epsilon, one.max_perturbation))
    limit = report.threat_model.epsilon_value
    yield finding(
        "perturbation",
        worst.over_epsilon == 0 and worst.max_perturbation <= limit + TOLERANCE,
        f"The largest perturbation is {worst.max_perturbation:.6g} of {limit:.6g}, and "
        f"{worst.over_epsilon} images of {worst.name} lie outside the threat model",
        "these are not counted as broken, so the attack is weaker than it looks; repair it",
    )


def check_classes(report: EvaluationRecord, num_classes: int | None) -> Check:
    """Every prediction is one of the classes, as far as their number is known."""
    limit = num_classes or max(report.clean.predictions) + 1
    strange = sum(not 0 <= label < limit for label in report.clean.predictions)
    return finding(
        "known-classes",
        strange == 0,
        f"{strange} of {report.data.n} predictions name no class of the data",
        "the model was made for other classes or returns NaN; judge it on its own data set",
    )


def check_card(report: EvaluationRecord, card: Card | None) -> Iterator[Check]:
    """Clean accuracy is what the weights claim, where they were judged on the same images."""
    judged = report.data.name, report.data.split, report.data.n
    if card is None or judged != (card.data, card.split, card.n):
        return
    found = report.clean.accuracy.accuracy
    yield finding(
        "card",
        abs(found - card.accuracy) <= CARD,
        f"Clean accuracy is {100 * found:.2f} %, and the weights' card says "
        f"{100 * card.accuracy:.2f} %",
        "preprocessing or weights differ from those of the card; compare both",
    )
