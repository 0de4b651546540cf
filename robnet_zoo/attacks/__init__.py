"""The attacks: one file each in `methods`, and one row each in the registry.

Every attack is a callable that returns adversarial images, imported under its name with
underscores for hyphens:

    from robnet_zoo.attacks import apgd_t, autoattack, pgd100

    adversarial = pgd100(model, images, labels, "cifar10", restarts=5)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robnet_zoo.attacks.base import Attack, Suite, Traits
    from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
    from robnet_zoo.attacks.model import AttackedModel
    from robnet_zoo.attacks.registry import get_attack, register_attack

__all__ = [
    "Attack",
    "AttackBatch",
    "AttackOutput",
    "AttackedModel",
    "Suite",
    "Traits",
    "get_attack",
    "register_attack",
]

_HOME = {
    "Attack": "base",
    "AttackBatch": "batch",
    "AttackOutput": "batch",
    "AttackedModel": "model",
    "Suite": "base",
    "Traits": "base",
    "get_attack": "registry",
    "register_attack": "registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"robnet_zoo.attacks.{_HOME[name]}"), name)
    if not name.startswith("_"):
        registry = importlib.import_module("robnet_zoo.attacks.registry")
        attack = name.replace("_", "-")
        if registry.find(attack) is not None:
            return registry.get_attack(attack)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
