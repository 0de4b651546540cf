"""What `pretrained=True` gives, said where it is not what a paper describes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.registry import at_hand, has_published_size, tags
from robnet_zoo.zoo.weights import Weights


class PretrainedWarning(UserWarning):
    """Pretrained weights are not of the published size or data, or were changed to fit."""


def notice(text: str, stacklevel: int) -> None:
    """Give a `PretrainedWarning` for the line of `stacklevel` calls above the caller's."""
    warnings.warn(text, PretrainedWarning, stacklevel=stacklevel + 2)


def describe_default(architecture: str, weights: Weights) -> str | None:
    """Return one sentence on default weights that are not of the published size or data."""
    row = ARCHITECTURES[architecture]
    as_published = has_published_size(architecture, weights) and weights.dataset == row.dataset
    if as_published and not weights.naturally_trained:
        return None
    own = [weights.dataset, f"{weights.image_size}x{weights.image_size} images"]
    own += _size(weights.arguments, weights.parameters)
    own += ["trained naturally"] if weights.naturally_trained else []
    published = [row.dataset, *_size(row.arguments, row.parameters)]
    other = next((tag for tag in tags(row.name) if at_hand(f"{row.name}.{tag}") is None), None)
    fetch = f", or fetch others with 'robnet-zoo download {row.name}.{other}'" if other else ""
    return (
        f"'{row.name}' loads {weights.name} ({', '.join(own)}), not the published network "
        f"({', '.join(published)}); name '{weights.name}' if that is what you want{fetch}."
    )


def _size(arguments: Mapping[str, Any], parameters: int) -> list[str]:
    shape = [
        f"{arguments[key]} {word}"
        for key, word in (("channels", "channels"), ("layers", "cells"))
        if key in arguments
    ]
    return [*([" x ".join(shape)] if shape else []), f"{parameters:,} parameters"]
