"""Entry points for torch.hub, one for each architecture of the zoo.

torch.hub.load("robnet-zoo/robnet_zoo", "robnet_free", pretrained=True)
torch.hub.load(".", "robnet_free", source="local", channels=16, num_classes=100)
"""

from __future__ import annotations

from collections.abc import Callable as _Callable
from typing import Any as _Any

from robnet_zoo.zoo import create_model as _create_model
from robnet_zoo.zoo import list_models as _list_models
from robnet_zoo.zoo.info import describe as _describe

dependencies = ["torch", "numpy", "safetensors", "huggingface_hub", "msgspec", "jinja2"]


def _entry(name: str) -> _Callable[..., _Any]:
    def entry(pretrained: bool = False, **overrides: _Any) -> _Any:
        return _create_model(name, pretrained=pretrained, **overrides)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"""{_describe(name)}

Input: images (N, C, H, W) with pixels in [0,1]; output: logits (N, num_classes).

Args:
    pretrained: load the default weights, listed first above; a warning says what they are where
        they are not of the published size and data.
    weights: load the weights of this tag or folder instead.
    verify: compare the logits on a fixed input with the stored ones.
    features_only: give a list of feature maps instead of logits.
    overrides: channels, layers, num_classes, in_channels and more; see create_model.
"""
    return entry


globals().update({name: _entry(name) for name in _list_models()})
