"""A weights folder made into its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.blueprints import DEFAULTS, Blueprint, blueprint_of, validate_arguments
from robnet_zoo.zoo.store import stored_state, verify_logits
from robnet_zoo.zoo.tensors import read_tensors
from robnet_zoo.zoo.weights import Weights


def load(weights: Weights, *, verify: bool = False, **overrides: Any) -> nn.Module:
    """Build the network of a weights folder, in eval mode.

    Args:
        weights: what was read from the folder.
        verify: compare the logits on a fixed input with the stored ones.
        overrides: arguments of `create_model`; one that differs from the stored one is refused.

    Raises:
        ZooError: the folder describes no network of the zoo, its tensors are missing, damaged or
            altered, an override does not fit, or the logits are not the stored ones.
    """
    design = blueprint_of(weights)
    _validate_overrides(weights, design, overrides)
    model = _with_tensors(design, weights)
    if verify:
        verify_logits(model, weights)
    return model


def _with_tensors(design: Blueprint, weights: Weights) -> nn.Module:
    """Return the network with its stored tensors, in eval mode.

    The tensors are held against a network without storage first, so that a config.json that
    asks for a gigantic network is refused before memory is.
    """
    with torch.device("meta"):
        expected = stored_state(design.build())
    tensors = read_tensors(weights, expected)
    model = design.build()
    model.load_state_dict(tensors, strict=False)  # names were compared: only counters are left
    return model.eval()


def _validate_overrides(weights: Weights, design: Blueprint, overrides: Mapping[str, Any]) -> None:
    validate_arguments(design, overrides)
    fixed = {**DEFAULTS, "image_size": weights.image_size, **weights.arguments}
    for key, value in overrides.items():
        stored = fixed.get(key, "its published value")
        if value != stored:
            raise ZooError(
                f"{weights.name} was trained with {key}={stored}, so it cannot be loaded with "
                f"{key}={value}; leave {key} out, or build without weights."
            )
