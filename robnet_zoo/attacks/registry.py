"""Attacks by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from robnet_zoo.attacks import transfer
from robnet_zoo.attacks.autoattack import Apgd, CarliniWagner, Fab
from robnet_zoo.attacks.base import Attack, Suite
from robnet_zoo.attacks.deepfool import DeepFool
from robnet_zoo.attacks.gradient import GradientAttack
from robnet_zoo.attacks.square import Square
from robnet_zoo.runtime.errors import ZooError, unknown_name


def fgsm() -> GradientAttack:
    """Return FGSM (Goodfellow 2015): one step of the size epsilon."""
    return GradientAttack(name="fgsm", step="epsilon")


def bim(steps: int = 10) -> GradientAttack:
    """Return BIM (Kurakin 2017): from the image itself, with the threat model's step."""
    return GradientAttack(name=f"bim{steps}", steps=steps)


def pgd(steps: int = 20) -> GradientAttack:
    """Return PGD (Madry 2018): from uniform noise, with the threat model's step."""
    return GradientAttack(name=f"pgd{steps}", steps=steps, start="uniform")


def mifgsm(steps: int = 10) -> GradientAttack:
    """Return MI-FGSM (Dong 2018): BIM with an accumulated gradient that does not decay."""
    return GradientAttack(name=f"mifgsm{steps}", steps=steps, momentum=1.0)


def autoattack() -> Suite:
    """Return AutoAttack's standard version (Croce and Hein 2020)."""
    return Suite(
        name="autoattack",
        parts=(
            Apgd(name="apgd-ce"),
            Apgd(name="apgd-t", loss="dlr-targeted"),
            Fab(name="fab-t"),
            Square(name="square"),
        ),
    )


def autoattack_rand() -> Suite:
    """Return AutoAttack's version for randomised models: 20 gradients averaged a step."""
    return Suite(
        name="autoattack-rand",
        parts=(
            Apgd(name="apgd-ce", eot=20),
            Apgd(name="apgd-dlr", loss="dlr", eot=20),
        ),
    )


PRESETS: dict[str, Callable[[], Attack | Suite]] = {
    "fgsm": fgsm,
    "bim": bim,
    "pgd20": pgd,
    "mifgsm": mifgsm,
    "deepfool": lambda: DeepFool(name="deepfool"),
    "cw": lambda: CarliniWagner(name="cw"),
    "apgd-ce": lambda: Apgd(name="apgd-ce"),
    "apgd-t": lambda: Apgd(name="apgd-t", loss="dlr-targeted"),
    "fab-t": lambda: Fab(name="fab-t"),
    "square": lambda: Square(name="square"),
    "autoattack": autoattack,
    "autoattack-rand": autoattack_rand,
}
NUMBERED = {"bim": bim, "pgd": pgd, "mifgsm": mifgsm}
MOST_STEPS = 100_000


def get_attack(name: str, **settings: Any) -> Attack | Suite:
    """Return an attack by name: a preset, or `pgdN`, `bimN`, `mifgsmN` with N steps.

    `transfer:SOURCE:ATTACK` names what ATTACK (pgd20 if left out) makes on the model SOURCE.

    Args:
        name: as on the command line.
        settings: fields of the attack to change, such as restarts=5 or targeted=True.

    Raises:
        ZooError: unknown name, no or too many steps, or a setting the attack does not have.
    """
    if name.startswith(transfer.PREFIX):
        source, made_by = transfer.split(name)
        base = transfer.gradient_only(get_attack(made_by, **settings))
        return transfer.Transfer(name=name, source=transfer.load_source(source), base=base)
    numbered = re.fullmatch(r"([a-z]+)(\d+)", name)
    if name in PRESETS:
        attack = PRESETS[name]()
    elif numbered and numbered[1] in NUMBERED:
        steps = int(numbered[2])
        if not 1 <= steps <= MOST_STEPS:
            raise ZooError(
                f"Attack '{name}' has {steps} steps; between 1 and {MOST_STEPS:,} are possible."
            )
        attack = NUMBERED[numbered[1]](steps)
    else:
        raise unknown_name("attack", name, [*PRESETS, "pgd100", "pgd10", "transfer:SOURCE:pgd10"])
    return _changed(attack, {"name": name, **settings})


def _changed(attack: Any, settings: dict[str, Any]) -> Attack | Suite:
    own = {field.name for field in fields(attack)} - {"parts"}
    for key in settings:
        if key not in own:
            raise ZooError(
                f"Attack '{settings['name']}' has no setting '{key}'; "
                f"it has {', '.join(sorted(own - {'name'})) or 'none'}."
            )
    changed: Attack | Suite = replace(attack, **settings)
    return changed
