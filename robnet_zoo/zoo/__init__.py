"""Names to models, and the weights that go into them.

The names below are imported when they are first used: listing models needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robnet_zoo.zoo.architectures import Architecture
    from robnet_zoo.zoo.create import create_model
    from robnet_zoo.zoo.mixin import HubModel, Network
    from robnet_zoo.zoo.papers import Paper
    from robnet_zoo.zoo.registry import get_weights, list_models, register_architecture

__all__ = [
    "Architecture",
    "HubModel",
    "Network",
    "Paper",
    "create_model",
    "get_weights",
    "list_models",
    "register_architecture",
]

_HOME = {
    "Architecture": "architectures",
    "HubModel": "mixin",
    "Network": "mixin",
    "Paper": "papers",
    "create_model": "create",
    "get_weights": "registry",
    "list_models": "registry",
    "register_architecture": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
