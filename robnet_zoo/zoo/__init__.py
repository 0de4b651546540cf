"""Names to models, and the weights that go into them.

The names below are imported when they are first used: listing models needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robnet_zoo.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from robnet_zoo.zoo.architectures import Architecture
    from robnet_zoo.zoo.create import create_model
    from robnet_zoo.zoo.export import export_onnx, export_torch
    from robnet_zoo.zoo.inputs import Transform, transform
    from robnet_zoo.zoo.mixin import HubModel, Network
    from robnet_zoo.zoo.notices import PretrainedWarning
    from robnet_zoo.zoo.papers import Paper
    from robnet_zoo.zoo.registry import get_weights, list_models, register_architecture
    from robnet_zoo.zoo.store import save_weights

__all__ = [
    "Architecture",
    "HubModel",
    "Network",
    "Paper",
    "PretrainedWarning",
    "Transform",
    "create_model",
    "export_onnx",
    "export_torch",
    "get_weights",
    "list_models",
    "register_architecture",
    "save_weights",
    "transform",
]

_HOMES = {
    "Architecture": "zoo.architectures",
    "HubModel": "zoo.mixin",
    "Network": "zoo.mixin",
    "Paper": "zoo.papers",
    "PretrainedWarning": "zoo.notices",
    "Transform": "zoo.inputs",
    "create_model": "zoo.create",
    "export_onnx": "zoo.export",
    "export_torch": "zoo.export",
    "get_weights": "zoo.registry",
    "list_models": "zoo.registry",
    "register_architecture": "zoo.registry",
    "save_weights": "zoo.store",
    "transform": "zoo.inputs",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
