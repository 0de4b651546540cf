"""Robust architectures found by neural architecture search, their weights and their evaluation.

The functions below are imported when they are first used, so that `import robnet_zoo` stays fast.
So are attacks, under their names: `robnet_zoo.pgd100(model, images, labels, "cifar10")`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robnet_zoo.eval import evaluate
    from robnet_zoo.zoo import create_model, get_weights, list_models

__version__ = "0.1.0"
__all__ = ["create_model", "evaluate", "get_weights", "list_models"]

_HOME = {
    "create_model": "robnet_zoo.zoo",
    "evaluate": "robnet_zoo.eval",
    "get_weights": "robnet_zoo.zoo",
    "list_models": "robnet_zoo.zoo",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if not name.startswith("_"):
        registry = importlib.import_module("robnet_zoo.attacks.registry")
        attack = name.replace("_", "-")
        if registry.find(attack) is not None:
            return registry.get_attack(attack)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
