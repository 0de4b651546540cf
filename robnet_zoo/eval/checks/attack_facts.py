"""What a record says of its attacks: how long they went, and whether they followed gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robnet_zoo.attacks.naming import is_targeted
from robnet_zoo.attacks.registry import declared
from robnet_zoo.eval.record.results import AttackResult

if TYPE_CHECKING:
    from robnet_zoo.attacks.base import Traits

LONG_ENOUGH = 20  # steps from which an attack should have converged
REACH = 1.5  # epsilons that the steps of an attack must be able to go
MOVED = 0.5  # of epsilon by which some image must be moved


def steps(attack: AttackResult) -> int:
    """Return how many steps an attack takes, 0 where its settings do not say."""
    return int(attack.settings.get("steps", 0))


def traits(attack: AttackResult) -> Traits:
    """Return what an attack needs and is."""
    return declared(attack.name, attack.settings)


def parts(attack: AttackResult) -> list[tuple[str, Mapping[str, Any], Traits]]:
    """Return name, settings and traits of each part of a suite."""
    settings = attack.settings.get("parts", [{}] * len(attack.parts))
    return [
        (part.name, own, declared(part.name, own))
        for part, own in zip(attack.parts, settings, strict=True)
    ]


def is_gradient(attack: AttackResult) -> bool:
    """Whether it is of the shared kernel's family, against the label."""
    return "step_value" in attack.settings and not is_targeted(attack.settings)


def has_own_loss(settings: Mapping[str, Any]) -> bool:
    """Whether it raises a loss of the user's own: where that fails, the model need not be why."""
    return "loss_sha256" in settings


def is_white_box(attack: AttackResult) -> bool:
    """Whether it follows gradients at epsilon for long enough to be held against a black box."""
    if has_own_loss(attack.settings):
        return False
    if attack.parts:
        return any(
            known.gradients and _number(own, "steps", LONG_ENOUGH) >= LONG_ENOUGH
            for _, own, known in parts(attack)
            if not known.minimal
        )
    known = traits(attack)
    minimal = known.minimal or attack.median_distance is not None
    long = steps(attack) >= LONG_ENOUGH and not is_targeted(attack.settings)
    return long and known.gradients and not minimal


def weakness(attack: AttackResult, epsilon: float, eot: int = 1) -> str:
    """Return why what survives an attack says little, such as "fgsm takes 1 step"; "" if it does.

    An attack is strong if every image that survives it took 20 gradient steps or more at epsilon,
    against its label. Settings say so, and so must the gradients that the harness counted. A suite
    is as strong as its strongest part.

    Args:
        attack: of a record.
        epsilon: of its threat model.
        eot: draws that each gradient averages, each of which the harness counted.
    """
    name = attack.full_name
    if attack.robust.correct == 0:
        return ""
    if attack.parts:
        reasons = [
            _weak(
                part.name,
                settings,
                known,
                epsilon=epsilon,
                gradients=part.backwards // eot,
                survivors=part.attacked - part.broken,
            )
            for part, (_, settings, known) in zip(attack.parts, parts(attack), strict=True)
        ]
        return "" if "" in reasons else f"no part of {name} is strong"
    if attack.median_distance is not None:
        return f"{name} looks for the smallest change"
    if 0 < attack.max_perturbation < MOVED * epsilon:
        return f"{name} moves no image by more than {attack.max_perturbation / epsilon:.2f} epsilon"
    return _weak(
        name,
        attack.settings,
        traits(attack),
        epsilon=epsilon,
        gradients=attack.backwards // eot,
        survivors=attack.robust.correct,
    )


def _weak(
    name: str,
    settings: Mapping[str, Any],
    known: Traits,
    *,
    epsilon: float,
    gradients: int,
    survivors: int,
) -> str:
    runs = _number(settings, "restarts", 1) * _number(settings, "eot", 1)
    count = int(_number(settings, "steps", gradients / max(1, survivors) / runs))
    reach = count * _number(settings, "step_value", epsilon) / epsilon
    if is_targeted(settings):
        return f"{name} aims at one other class"
    if known.minimal:
        return f"{name} looks for the smallest change"
    if not known.gradients or gradients == 0 < survivors:
        return f"{name} follows no gradients"
    if has_own_loss(settings):
        return f"{name} raises a loss of its own"
    if count < LONG_ENOUGH or gradients < LONG_ENOUGH * survivors:
        taken = min(count, gradients // max(1, survivors))
        return f"{name} takes {taken} step{'s' * (taken != 1)}"
    if reach < REACH:
        return f"the steps of {name} reach {reach:.2f} epsilon in all"
    return ""


def _number(settings: Mapping[str, Any], key: str, default: float) -> float:
    value = settings.get(key, default)
    return float(value) if isinstance(value, int | float) else default
