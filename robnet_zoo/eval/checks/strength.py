"""Whether the attacks were strong enough for what survived them to mean anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

from robnet_zoo.attacks.naming import is_targeted
from robnet_zoo.attacks.registry import declared
from robnet_zoo.eval.checks.registry import Finding, Skipped, check
from robnet_zoo.eval.checks.results import Results, Sweep
from robnet_zoo.eval.record import AttackResult

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

Gaps = Sequence[tuple[int, str]]  # images something missed, and a sentence with {} for them


@check(
    "step-length",
    kind="results",
    catches="steps too short to matter",
    fails_if="steps x step size is under 1.5 epsilon",
)
def check_reach(results: Results) -> Finding | Skipped:
    """The steps of every iterated attack can cross the ball of epsilon."""
    epsilon = results.record.threat_model.epsilon_value
    reach = {
        attack.full_name: _steps(attack) * attack.settings["step_value"] / epsilon
        for attack in results.attacks
        if _is_gradient(attack) and _steps(attack) > 1
    }
    if not reach:
        return Skipped("No gradient attack of several steps was run against the label")
    name = min(reach, key=lambda name: reach[name])
    return (
        reach[name] >= REACH,
        f"The steps of {name} reach {reach[name]:.2f} epsilon in all",
        f"below {REACH} parts of the ball stay out of reach; take longer or more steps",
    )


@check(
    "converged",
    kind="results",
    catches="attacks stopped early",
    fails_if="more steps break over 1 % of n: the last fifth of an attack of 50 or more steps, or "
    "PGD-100 after PGD-20",
)
def check_converged(results: Results) -> Finding | Skipped:
    """Attacks of 20 steps or more break nearly all that still more steps break."""
    gaps = []
    for attack in results.attacks:
        if attack.trace is not None and _steps(attack) >= LONG:
            late = _steps(attack) // 5
            missed = attack.trace.any[-1 - late] - attack.trace.any[-1]
            gaps.append((missed, f"The last {late} steps of {attack.full_name} broke another {{}}"))
    for short, long in _pairs(results.attacks):
        if _steps(short) >= QUOTED:
            missed = short.robust.correct - long.robust.correct
            gaps.append((missed, f"{long.full_name} broke {{}} more than {short.full_name}"))
    remedy = "the fewer steps had not converged; quote the attack with the most, or autoattack"
    nothing = "No gradient attack of 20 steps or more tells what still more steps do"
    return _largest(gaps, STEPS_GAP, results.record.data.n, remedy, nothing)


@check(
    "more-steps",
    kind="results",
    catches="masked gradients",
    fails_if="an attack breaks over 1 % of n less than the same with fewer steps, or than FGSM",
)
def check_more_steps(results: Results) -> Finding | Skipped:
    """More steps break no less than fewer, nor than the single one of FGSM."""
    gaps = [
        (_final(long) - _final(short), f"{long.full_name} broke {{}} less than {short.full_name}")
        for short, long in _pairs(results.attacks)
    ]
    remedy = "following the gradient further does not help, so it may be masked; add square"
    nothing = "No two attacks differ in their number of steps alone, and none beside fgsm has more"
    return _largest(gaps, STEPS_GAP, results.record.data.n, remedy, nothing)


@check(
    "last-iterate",
    kind="results",
    catches="attacks that pass over their goal",
    fails_if="over 3 % of n survive the last iterate and not an earlier one",
)
def check_last_iterate(results: Results) -> Finding | Skipped:
    """The last iterate of an attack breaks nearly all that any of its iterates does."""
    gaps = [
        (
            _final(attack) - attack.robust.correct,
            f"The last iterate of {attack.full_name} spared {{}} again",
        )
        for attack in results.attacks
        if attack.last is not None
    ]
    remedy = "the attack passes its goal; quote the accuracy under any iterate, not the last"
    nothing = "No attack tells its last iterate from the earlier ones"
    return _largest(gaps, LAST_GAP, results.record.data.n, remedy, nothing)


@check(
    "losses-agree",
    kind="results",
    catches="a softmax that hides the way",
    fails_if="attacks on the margin break over 10 % of n more than attacks on the cross-entropy",
)
def check_losses(results: Results) -> Finding | Skipped:
    """Attacks on the cross-entropy find most of what attacks on the margin find."""
    white = [attack for attack in results.attacks if _is_white_box(attack)]
    entropy = [attack.robust.correct for attack in white if _traits(attack).loss == "ce"]
    entropy += [
        attack.parts[0].attacked - attack.parts[0].broken
        for attack in white
        if attack.parts and _part_traits(attack)[0].loss == "ce"
    ]
    other = [
        attack.robust.correct
        for attack in white
        if attack.parts or _traits(attack).loss == "margin"
    ]
    if not entropy or not other:
        missing = "margin" if entropy else "cross-entropy"
        return Skipped(f"No attack of 20 steps or more on the {missing} was run")
    seen = "Attacks on the margin broke {} more than those on cross-entropy"
    remedy = "the softmax hides the way; quote attacks on the margin (apgd-t, fab-t) alone"
    gaps = [(min(entropy) - min(other), seen)]
    return _largest(gaps, LOSS_GAP, results.record.data.n, remedy, "")


@check(
    "black-box",
    kind="results",
    catches="masked gradients",
    fails_if="square or a transferred image breaks over 0.2 % of n more than all white boxes "
    "together",
)
def check_black_box(results: Results) -> Finding | Skipped:
    """No attack without the model's gradients breaks more than those with them together."""
    gaps = [
        (part.broken, f"In {attack.full_name}, {part.name} broke {{}} that gradients had not")
        for attack in results.attacks
        for part, traits in list(zip(attack.parts, _part_traits(attack), strict=True))[1:]
        if not traits.gradients
    ]
    white = [attack.flags for attack in results.attacks if _is_white_box(attack)]
    if white:
        standing = sum(map(all, zip(*white, strict=True)))
        gaps += [
            (
                standing - attack.robust.correct,
                f"{attack.full_name} broke {{}} more than all white boxes",
            )
            for attack in results.attacks
            if not attack.parts and not _traits(attack).gradients
        ]
    remedy = "an attack that sees less does better, so gradients may be masked; add autoattack"
    nothing = "There is no black box beside a white box of 20 steps or more, such as square"
    return _largest(gaps, BLACK_BOX_GAP, results.record.data.n, remedy, nothing)


@check(
    "source-broken",
    kind="results",
    catches="a transfer attack that means nothing",
    fails_if="over 90 % of the images that an attack is transferred to survive on the very model "
    "they were made on",
)
def check_source(results: Results) -> Finding | Skipped:
    """Images that are transferred break at least the model that they were made on."""
    rates = {
        attack.full_name: attack.on_source
        for attack in results.attacks
        if attack.on_source is not None
    }
    if not rates:
        return Skipped("There is no transfer attack in the run")
    name = max(rates, key=lambda name: rates[name].accuracy)
    rate = rates[name]
    return (
        rate.accuracy <= SOURCE,
        f"{name} leaves {rate.correct} of {rate.n} images standing on the source itself",
        "what does not break its own source says little about others; transfer a stronger attack",
    )


@check(
    "epsilon-monotone",
    kind="sweep",
    catches="attacks that fail at a larger epsilon",
    fails_if="accuracy rises with epsilon by more than 1 % of n",
)
def check_monotone(sweep: Sweep) -> Finding | Skipped:
    """Accuracy falls with epsilon."""
    rises = [
        (more - fewer, f"At epsilon {larger} {{}} more are robust than at {smaller}")
        for (smaller, fewer), (larger, more) in pairwise(sweep.robust)
    ]
    remedy = "a larger ball holds the smaller, so the attack fails; take more steps, or add square"
    nothing = "There is no second epsilon to compare with"
    return _largest(rises, SWEEP_GAP, sweep.records[-1].data.n, remedy, nothing)


@check(
    "epsilon-unbounded",
    kind="sweep",
    catches="masked gradients",
    fails_if="over 1 % of n stand at epsilon 1, where every image is allowed",
)
def check_unbounded(sweep: Sweep) -> Finding | Skipped:
    """Accuracy falls to nothing where any image is allowed."""
    last = sweep.records[-1]
    if last.threat_model.norm != "Linf" or last.threat_model.epsilon_value < 1:
        return Skipped("Epsilon 1 under Linf, where every image is allowed, was not tried")
    epsilon, left = sweep.robust[-1]
    remedy = "no model is that robust, so the attack does not work; look for masked gradients"
    gaps = [(left, f"At epsilon {epsilon} {{}} are robust")]
    return _largest(gaps, SWEEP_GAP, last.data.n, remedy, "")


def _largest(gaps: Gaps, limit: float, n: int, remedy: str, nothing: str) -> Finding | Skipped:
    """Return a finding on the largest gap in parts of n; `nothing` says why there is none."""
    if not gaps:
        return Skipped(nothing)
    missed, seen = max(gaps)
    return missed <= max(limit * n, FEW), seen.format(f"{max(missed, 0)} of {n} images"), remedy


def _steps(attack: AttackResult) -> int:
    return int(attack.settings.get("steps", 0))


def _final(attack: AttackResult) -> int:
    """Return how many images survive the last iterate, or all where it is not known."""
    return (attack.last or attack.robust).correct


def _is_gradient(attack: AttackResult) -> bool:
    """Whether it is of the shared kernel's family, against the label."""
    return "step_value" in attack.settings and not is_targeted(attack.settings)


def _is_white_box(attack: AttackResult) -> bool:
    """Whether it follows gradients at epsilon for long enough to be held against a black box."""
    long = _steps(attack) >= QUOTED and not is_targeted(attack.settings)
    traits, minimal = _traits(attack), attack.median_distance is not None
    follows = traits.gradients and not (traits.minimal or minimal)
    return bool(attack.parts) or (long and follows)


def _traits(attack: AttackResult) -> Traits:
    return declared(attack.name, attack.settings)


def _part_traits(attack: AttackResult) -> list[Traits]:
    """Return what each part of a suite needs and is."""
    settings = attack.settings.get("parts", [{}] * len(attack.parts))
    return [declared(part.name, own) for part, own in zip(attack.parts, settings, strict=True)]


def _pairs(attacks: Sequence[AttackResult]) -> Iterator[tuple[AttackResult, AttackResult]]:
    """Yield attacks that differ in their number of steps alone, fewer first, and FGSM with all."""
    gradient = [attack for attack in attacks if _is_gradient(attack)]
    for short, long in permutations(gradient, 2):
        alike = _steps(short) == 1 or _method(short) == _method(long)
        if _steps(short) < _steps(long) and alike:
            yield short, long


def _method(attack: AttackResult) -> dict[str, object]:
    apart = ("name", "steps", "step", "early_exit")
    return {key: value for key, value in attack.settings.items() if key not in apart}
