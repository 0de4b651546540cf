"""The attacks: one file each in `methods`, and one row each in the registry.

Every attack is a callable that returns adversarial images, imported under its name with
underscores for hyphens:

    from robnet_zoo.attacks import apgd_t, autoattack, pgd100

    adversarial = pgd100(model, images, labels, "cifar10", restarts=5)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robnet_zoo.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from robnet_zoo.attacks.adaptive import Bpda, Eot
    from robnet_zoo.attacks.base import Attack, Suite, Traits
    from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
    from robnet_zoo.attacks.model import AttackedModel
    from robnet_zoo.attacks.registry import get_attack, register_attack

__all__ = [
    "Attack",
    "AttackBatch",
    "AttackOutput",
    "AttackedModel",
    "Bpda",
    "Eot",
    "Suite",
    "Traits",
    "get_attack",
    "register_attack",
]

_HOMES = {
    "Attack": "attacks.base",
    "AttackBatch": "attacks.batch",
    "AttackOutput": "attacks.batch",
    "AttackedModel": "attacks.model",
    "Bpda": "attacks.adaptive",
    "Eot": "attacks.adaptive",
    "Suite": "attacks.base",
    "Traits": "attacks.base",
    "get_attack": "attacks.registry",
    "register_attack": "attacks.registry",
}


def attack_named(name: str) -> Any:
    """Return the attack that an attribute such as `pgd100` or `apgd_t` stands for, or None."""
    from robnet_zoo.attacks.registry import find, get_attack

    attack = name.replace("_", "-")
    return None if find(attack) is None else get_attack(attack)


__getattr__, __dir__ = lazy_names(__name__, _HOMES, attack_named)
