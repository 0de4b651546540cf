"""Whether the numbers of a record add up, and agree with what is known of the model."""

from __future__ import annotations

from msgspec import UNSET

from robnet_zoo.attacks.verdicts import limit
from robnet_zoo.eval.checks.registry import Finding, Skipped, check
from robnet_zoo.eval.checks.results import Results


@check(
    "worst-case",
    kind="results",
    catches="averages in place of the worst case, clean mistakes counted wrongly, altered records",
    fails_if="verdicts, counts and totals do not add up on the same n",
)
def check_sums(results: Results) -> Finding:
    """An image counts as robust only if it is right and survives every attack."""
    record = results.record
    rows = [
        ("clean", record.clean.verdicts, record.clean.accuracy),
        *((attack.name, attack.verdicts, attack.robust) for attack in results.attacks),
    ]
    total = "".join(map(min, *(verdicts for _, verdicts, _ in rows), record.clean.verdicts))
    wrong = [] if total == record.totals.verdicts else ["all attacks"]
    for name, verdicts, rate in (*rows, ("all attacks", total, record.totals.robust)):
        if (rate.correct, rate.n) != (verdicts.count("1"), record.data.n):
            wrong.append(name)
    for attack in results.attacks:
        left = record.clean.accuracy.correct - sum(part.broken for part in attack.parts)
        if attack.parts and left != attack.robust.correct:
            wrong.append(attack.name)
    return (
        not wrong,
        f"The verdicts and counts of {', '.join(dict.fromkeys(wrong))} disagree"
        if wrong
        else "Robust are the images that survive every attack, out of all that were judged",
        "the report was altered or put together wrongly; evaluate again",
    )


@check(
    "known-classes",
    kind="results",
    catches="a model for other classes, NaN",
    fails_if="a prediction names no class of the data",
)
def check_classes(results: Results) -> Finding:
    """Every prediction is one of the classes, as far as their number is known."""
    predictions = results.record.clean.predictions
    limit = results.num_classes or max(predictions) + 1
    least = 0 if results.record.clean.draws is UNSET else -1  # draws may agree on no class
    strange = sum(not least <= label < limit for label in predictions)
    return (
        strange == 0,
        f"{strange} of {results.record.data.n} predictions name no class of the data",
        "the model was made for other classes or returns NaN; judge it on its own data set",
    )


@check(
    "perturbation",
    kind="results",
    catches="attacks that leave the ball or [0,1]",
    fails_if="the harness measures more than epsilon + 1e-6 anywhere (L1: epsilon times 1 + 1e-6)",
)
def check_perturbations(results: Results) -> Finding | Skipped:
    """Every image that was judged lies within epsilon, as the harness measured it."""
    if not results.attacks:
        return Skipped("There is no attack in the run")
    worst = max(results.attacks, key=lambda attack: (attack.over_epsilon, attack.max_perturbation))
    threat = results.record.threat_model
    largest = limit(threat.epsilon_value, threat.norm)
    return (
        worst.over_epsilon == 0 and worst.max_perturbation <= largest,
        f"The largest perturbation is {worst.max_perturbation:.6g} of "
        f"{threat.epsilon_value:.6g}, and "
        f"{worst.over_epsilon} images of {worst.full_name} lie outside the threat model",
        "these are not counted as broken, so the attack is weaker than it looks; repair it",
    )
