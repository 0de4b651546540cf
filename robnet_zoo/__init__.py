"""Robust architectures found by neural architecture search, their weights and their evaluation.

The functions below are imported when they are first used, so that `import robnet_zoo` stays fast.
So are attacks, under their names: `robnet_zoo.pgd100(model, images, labels, "cifar10")`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robnet_zoo.attacks import attack_named
from robnet_zoo.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from robnet_zoo.eval import evaluate
    from robnet_zoo.zoo import create_model, export_onnx, export_torch, get_weights, list_models

__version__ = "0.2.0"
__all__ = [
    "create_model",
    "evaluate",
    "export_onnx",
    "export_torch",
    "get_weights",
    "list_models",
]

_HOMES = {
    "create_model": "zoo",
    "evaluate": "eval",
    "export_onnx": "zoo",
    "export_torch": "zoo",
    "get_weights": "zoo",
    "list_models": "zoo",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES, attack_named)
