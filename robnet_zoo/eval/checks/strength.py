"""Whether the attacks were strong enough for what survived them to mean anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from msgspec import UNSET

from robnet_zoo.eval.checks.attack_facts import (
    LONG_ENOUGH,
    REACH,
    has_own_loss,
    is_gradient,
    is_white_box,
    steps,
    weakness,
)
from robnet_zoo.eval.checks.gaps import largest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check
from robnet_zoo.eval.checks.results import Results
from robnet_zoo.eval.record.results import AttackResult

LONG = 50  # steps from which its own trace tells
STEPS_GAP = 0.01  # of n that more steps may break, or fail to break
LAST_GAP = 0.03  # of n that some iterate may break and the last one not


@check(
    "strong-attack",
    kind="results",
    catches="a number that only weak attacks stand behind: one step, deepfool, square alone, "
    "targeted attacks",
    fails_if="no attack took the images that survive it through 20 gradient steps or more at "
    "epsilon, 1.5 epsilon in all, against their labels; parts of a suite count",
)
def check_strong(results: Results) -> Finding | Skipped:
    """Some attack of the run is strong enough for its survivors to be called robust."""
    if not results.attacks:
        return Skipped("There is no attack in the run")
    epsilon, eot = results.record.threat_model.epsilon_value, results.record.settings.eot
    weak = {
        attack.full_name: weakness(attack, epsilon, 1 if eot is UNSET else eot)
        for attack in results.attacks
    }
    strong = [name for name, reason in weak.items() if not reason]
    reasons = "; ".join(weak.values())
    tried = any(attack.name == "pgd20" for attack in results.attacks)  # with a loss of one's own
    return (
        bool(strong),
        f"{strong[0]} leaves only images that stand against 20 steps at epsilon or more"
        if strong
        else f"No attack of the run is strong ({reasons})",
        "the accuracy is an upper bound and not to be quoted; add "
        + ("autoattack" if tried else "pgd20 or autoattack"),
    )


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
        attack.full_name: steps(attack) * attack.settings["step_value"] / epsilon
        for attack in results.attacks
        if is_gradient(attack) and steps(attack) > 1
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
        if attack.trace is not None and steps(attack) >= LONG:
            late = steps(attack) // 5
            missed = attack.trace.any[-1 - late] - attack.trace.any[-1]
            gaps.append((missed, f"The last {late} steps of {attack.full_name} broke another {{}}"))
    for short, long in _pairs(results.attacks):
        if steps(short) >= LONG_ENOUGH:
            missed = short.robust.correct - long.robust.correct
            gaps.append((missed, f"{long.full_name} broke {{}} more than {short.full_name}"))
    remedy = "the fewer steps had not converged; quote the attack with the most, or autoattack"
    nothing = "No gradient attack of 20 steps or more tells what still more steps do"
    return largest(gaps, STEPS_GAP, results.record.data.n, remedy, nothing)


@check(
    "more-steps",
    kind="results",
    catches="masked gradients",
    fails_if="an attack breaks over 1 % of n less than the same with fewer steps, or than FGSM; or "
    "autoattack less than pgdN",
)
def check_more_steps(results: Results) -> Finding | Skipped:
    """More steps break no less than fewer, nor than the single one of FGSM."""
    gaps = [
        (_final(long) - _final(short), f"{long.full_name} broke {{}} less than {short.full_name}")
        for short, long in _pairs(results.attacks)
    ]
    gaps += [
        (
            suite.robust.correct - short.robust.correct,
            f"{suite.full_name} broke {{}} less than {short.full_name}",
        )
        for suite in results.attacks
        if suite.parts and is_white_box(suite)
        for short in results.attacks
        if is_gradient(short)
    ]
    remedy = "following the gradient further does not help, so it may be masked; add square"
    nothing = "No two attacks differ in their number of steps alone, nor is one fgsm or autoattack"
    return largest(gaps, STEPS_GAP, results.record.data.n, remedy, nothing)


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
        if attack.last is not None and not has_own_loss(attack.settings)
    ]
    remedy = "the attack passes its goal; quote the accuracy under any iterate, not the last"
    nothing = "No attack tells its last iterate from the earlier ones"
    return largest(gaps, LAST_GAP, results.record.data.n, remedy, nothing)


def _final(attack: AttackResult) -> int:
    """Return how many images survive the last iterate, or all where it is not known."""
    return (attack.last or attack.robust).correct


def _pairs(attacks: Sequence[AttackResult]) -> Iterator[tuple[AttackResult, AttackResult]]:
    """Yield attacks that differ in their number of steps alone, fewer first, and FGSM with all.

    The second never raises a loss of the user's own, which more steps need not help.
    """
    gradient = [attack for attack in attacks if is_gradient(attack)]
    for short, long in permutations(gradient, 2):
        alike = steps(short) == 1 or _method(short) == _method(long)
        if steps(short) < steps(long) and alike and not has_own_loss(long.settings):
            yield short, long


def _method(attack: AttackResult) -> dict[str, object]:
    apart = ("name", "steps", "step", "early_exit")
    return {key: value for key, value in attack.settings.items() if key not in apart}
