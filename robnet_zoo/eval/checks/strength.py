"""Whether the attacks were strong enough for what survived them to mean anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

from robnet_zoo.attacks.registry import declared
from robnet_zoo.eval.checks.finding import finding
from robnet_zoo.eval.record import AttackResult, Check, EvaluationRecord

if TYPE_CHECKING:
    from robnet_zoo.attacks.base import Traits

FEW = 2  # images: no difference up to this is held against a result
REACH = 1.5  # epsilons that the steps of an attack must be able to go
QUOTED = 20  # steps from which an attack should have converged
LONG = 50  # steps from which its own trace tells
STEPS_GAP = 0.01  # of n that more steps may break, or fail to break
LAST_GAP = 0.03  # of n that some iterate may break and the last one not
LOSS_GAP = 0.1  # of n that attacks on the margin may break more than those on cross-entropy
BLACK_BOX_GAP = 0.002  # of n that a black box may break more than the white boxes (AutoAttack's)
SOURCE = 0.9  # of the transferred images that may survive on the model they were made on
SWEEP_GAP = 0.01  # of n that a larger epsilon may break less, or one without bound not at all

Gaps = list[tuple[int, str]]  # images something missed, and a sentence with {} for their number


def check_reach(report: EvaluationRecord) -> Iterator[Check]:
    """The steps of every iterated attack can cross the ball of epsilon."""
    epsilon = report.threat_model.epsilon_value
    reach = {
        one.name: _steps(one) * one.settings["step_value"] / epsilon
        for one in report.attacks
        if _is_gradient(one) and _steps(one) > 1
    }
    if not reach:
        return
    name = min(reach, key=lambda name: reach[name])
    yield finding(
        "step-length",
        reach[name] >= REACH,
        f"The steps of {name} reach {reach[name]:.2f} epsilon in all",
        f"below {REACH} parts of the ball stay out of reach; take longer or more steps",
    )


def check_converged(report: EvaluationRecord) -> Iterator[Check]:
    """Attacks of 20 steps or more break nearly all that still more steps break."""
    gaps: Gaps = []
    for one in report.attacks:
        if one.trace is not None and _steps(one) >= LONG:
            late = _steps(one) // 5
            missed = one.trace.any[-1 - late] - one.trace.any[-1]
            gaps.append((missed, f"The last {late} steps of {one.name} broke another {{}}"))
    for short, long in _pairs(report):
        if _steps(short) >= QUOTED:
            missed = short.robust.correct - long.robust.correct
            gaps.append((missed, f"{long.name} broke {{}} more than {short.name}"))
    remedy = "the fewer steps had not converged; quote the attack with the most, or autoattack"
    yield from _largest("converged", gaps, STEPS_GAP, report, remedy)


def check_more_steps(report: EvaluationRecord) -> Iterator[Check]:
    """More steps break no less than fewer, nor than the single one of FGSM."""
    gaps = [
        (_final(long) - _final(short), f"{long.name} broke {{}} less than {short.name}")
        for short, long in _pairs(report)
    ]
    remedy = "following the gradient further does not help, so it may be masked; add square"
    yield from _largest("more-steps", gaps, STEPS_GAP, report, remedy)


def check_last_iterate(report: EvaluationRecord) -> Iterator[Check]:
    """The last iterate of an attack breaks nearly all that any of its iterates does."""
    gaps = [
        (_final(one) - one.robust.correct, f"The last iterate of {one.name} spared {{}} again")
        for one in report.attacks
        if one.last is not None
    ]
    remedy = "the attack passes its goal; quote the accuracy under any iterate, not the last"
    yield from _largest("last-iterate", gaps, LAST_GAP, report, remedy)


def check_losses(report: EvaluationRecord) -> Iterator[Check]:
    """Attacks on the cross-entropy find most of what attacks on the margin find."""
    white = [one for one in report.attacks if _is_white_box(one)]
    entropy = [one.robust.correct for one in white if _traits(one).loss == "ce"]
    entropy += [
        one.parts[0].attacked - one.parts[0].broken
        for one in white
        if one.parts and _part_traits(one)[0].loss == "ce"
    ]
    other = [one.robust.correct for one in white if one.parts or _traits(one).loss == "margin"]
    if entropy and other:
        seen = "Attacks on the margin broke {} more than those on cross-entropy"
        remedy = "the softmax hides the way; quote attacks on the margin (apgd-t, fab-t) alone"
        gaps = [(min(entropy) - min(other), seen)]
        yield from _largest("losses-agree", gaps, LOSS_GAP, report, remedy)


def check_black_box(report: EvaluationRecord) -> Iterator[Check]:
    """No attack without the model's gradients breaks more than those with them together."""
    gaps = [
        (part.broken, f"In {one.name}, {part.name} broke {{}} that gradients had not")
        for one in report.attacks
        for part, traits in list(zip(one.parts, _part_traits(one), strict=True))[1:]
        if not traits.gradients
    ]
    white = [one.flags for one in report.attacks if _is_white_box(one)]
    if white:
        standing = sum(map(all, zip(*white, strict=True)))
        gaps += [
            (standing - one.robust.correct, f"{one.name} broke {{}} more than all white boxes")
            for one in report.attacks
            if not one.parts and not _traits(one).gradients
        ]
    remedy = "an attack that sees less does better, so gradients may be masked; add autoattack"
    yield from _largest("black-box", gaps, BLACK_BOX_GAP, report, remedy)


def check_source(report: EvaluationRecord) -> Iterator[Check]:
    """Images that are transferred break at least the model that they were made on."""
    made = [one for one in report.attacks if one.on_source is not None]
    rates = {one.name: one.on_source for one in made if one.on_source is not None}
    if not rates:
        return
    name = max(rates, key=lambda name: rates[name].accuracy)
    found = rates[name]
    yield finding(
        "source-broken",
        found.accuracy <= SOURCE,
        f"{name} leaves {found.correct} of {found.n} images standing on the source itself",
        "what does not break its own source says little about others; transfer a stronger attack",
    )


def check_sweep(reports: Sequence[EvaluationRecord], attack: str) -> tuple[Check, ...]:
    """Check that accuracy falls with epsilon, and to nothing where any image is allowed.

    Args:
        reports: evaluations of one model on the same images under Linf, one a size.
        attack: name of the attack that is compared.

    Returns:
        The checks "epsilon-monotone" and, where a size reaches 1, "epsilon-unbounded".
    """
    ordered = sorted(reports, key=lambda report: report.threat_model.epsilon_value)
    counts = [(one.threat_model.epsilon, one.attack(attack).robust.correct) for one in ordered]
    rises = [
        (more - fewer, f"At epsilon {larger} {{}} more are robust than at {smaller}")
        for (smaller, fewer), (larger, more) in pairwise(counts)
    ]
    (epsilon, left), last = counts[-1], ordered[-1]
    unbounded = last.threat_model.norm == "Linf" and last.threat_model.epsilon_value >= 1
    free = [(left, f"At epsilon {epsilon} {{}} are robust")] if unbounded else []
    weak = "a larger ball holds the smaller, so the attack fails; take more steps, or add square"
    masked = "no model is that robust, so the attack does not work; look for masked gradients"
    return (
        *_largest("epsilon-monotone", rises, SWEEP_GAP, last, weak),
        *_largest("epsilon-unbounded", free, SWEEP_GAP, last, masked),
    )


def _largest(
    name: str, gaps: Gaps, share: float, report: EvaluationRecord, remedy: str
) -> Iterator[Check]:
    """Yield a check of the largest gap, nothing if there is no gap to look at."""
    if gaps:
        n, (missed, said) = report.data.n, max(gaps)
        seen = said.format(f"{max(missed, 0)} of {n} images")
        yield finding(name, missed <= max(share * n, FEW), seen, remedy)


def _steps(result: AttackResult) -> int:
    return int(result.settings.get("steps", 0))


def _final(result: AttackResult) -> int:
    """Return how many images survive the last iterate, or all where it is not known."""
    return (result.last or result.robust).correct


def _is_gradient(result: AttackResult) -> bool:
    """Whether it is of the shared kernel's family, against the label."""
    return "step_value" in result.settings and not result.settings.get("targeted")


def _is_white_box(result: AttackResult) -> bool:
    """Whether it follows gradients at epsilon for long enough to be held against a black box."""
    long = _steps(result) >= QUOTED and not result.settings.get("targeted")
    traits, minimal = _traits(result), result.median_distance is not None
    follows = traits.gradients and not (traits.minimal or minimal)
    return bool(result.parts) or (long and follows)


def _traits(result: AttackResult) -> Traits:
    return declared(result.name, result.settings)


def _part_traits(result: AttackResult) -> list[Traits]:
    """Return what each part of a suite needs and is."""
    settings = result.settings.get("parts", [{}] * len(result.parts))
    return [declared(part.name, own) for part, own in zip(result.parts, settings, strict=True)]


def _pairs(report: EvaluationRecord) -> Iterator[tuple[AttackResult, AttackResult]]:
    """Yield attacks that differ in their number of steps alone, fewer first, and FGSM with all."""
    gradient = [one for one in report.attacks if _is_gradient(one)]
    for short, long in permutations(gradient, 2):
        alike = _steps(short) == 1 or _method(short) == _method(long)
        if _steps(short) < _steps(long) and alike:
            yield short, long


def _method(result: AttackResult) -> dict[str, object]:
    apart = ("name", "steps", "step", "early_exit")
    return {key: value for key, value in result.settings.items() if key not in apart}
