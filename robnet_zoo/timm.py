"""The searched networks in timm: `import robnet_zoo.timm`, then `timm.create_model("racl")`.

Human-designed networks are left out, since timm has its own under their names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from timm.models import register_model
from torch import nn

from robnet_zoo.zoo import create_model
from robnet_zoo.zoo.architectures import ARCHITECTURES

__all__: list[str] = []  # which timm fills


def _entry(name: str) -> Callable[..., nn.Module]:
    def entry(
        pretrained: bool = False,
        pretrained_cfg: Any = None,  # the tag of "racl.digits"
        pretrained_cfg_overlay: Any = None,
        cache_dir: Any = None,
        in_chans: int | None = None,
        **arguments: Any,
    ) -> nn.Module:
        if in_chans is not None:
            arguments["in_channels"] = in_chans
        tag = pretrained_cfg if pretrained and isinstance(pretrained_cfg, str) else None
        return create_model(name, pretrained=pretrained, weights=tag, **arguments)

    entry.__name__ = entry.__qualname__ = name
    return entry


for _name, _known in ARCHITECTURES.items():
    if _known.genotype is not None:
        setattr(sys.modules[__name__], _name, register_model(_entry(_name)))
