"""Pretrained networks for other classes, and for images of other channels or another size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from robnet_zoo.models.features import Backbone
from robnet_zoo.models.networks import Network, check_image_size
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.blueprints import DEFAULTS, blueprint_of, validate_arguments
from robnet_zoo.zoo.load import load
from robnet_zoo.zoo.store import stored_state
from robnet_zoo.zoo.tensors import validate_tensors
from robnet_zoo.zoo.weights import Weights

ADAPTABLE = ("num_classes", "in_channels", "image_size")


def changes_of(weights: Weights, overrides: Mapping[str, Any]) -> dict[str, int]:
    """Return those overrides that differ from the weights' own and that a network can adapt to.

    Raises:
        ZooError: an override has an unknown name or a value that cannot be.
    """
    validate_arguments(blueprint_of(weights), overrides)
    own = {**DEFAULTS, "image_size": weights.image_size, **weights.arguments}
    if overrides.get("auxiliary"):  # what is loaded has no auxiliary head
        return {}
    return {
        key: value for key, value in overrides.items() if key in ADAPTABLE and value != own.get(key)
    }


def adapt(model: nn.Module, weights: Weights, changes: Mapping[str, int]) -> str:
    """Change a network that was just loaded, and return one sentence that says how.

    Args:
        model: the weights' network; all but its first and last layer stays as it is.
        weights: what it was loaded from.
        changes: what `changes_of` returned, not empty.

    Raises:
        ZooError: the network has no layers that it knows how to change, or takes no such images.
    """
    if not isinstance(model, Backbone):
        raise ZooError(
            f"{weights.name} is a {type(model).__name__}, which cannot be given another "
            f"{' or '.join(changes)}; leave that out, or derive its class from Backbone."
        )
    said, side = [], weights.image_size
    if (size := changes.get("image_size")) is not None:
        if isinstance(model, Network):
            check_image_size(model.stem_name, size)
        said.append(f"images of {size}x{size} instead of {side}x{side}")
    if (channels := changes.get("in_channels")) is not None:
        how = "added up" if channels == 1 else "repeated and scaled"
        model.reset_in_channels(channels)
        said.append(f"a first convolution {how} to read {channels} channel(s)")
    if (classes := changes.get("num_classes")) is not None:
        model.reset_classifier(classes)
        said.append(f"a new, untrained classifier for {classes} classes")
    return f"{weights.name} is loaded with {', '.join(said)}; its results hold no longer."


def transfer(model: nn.Module, weights: Weights, **data: int) -> str | None:
    """Put weights into a network that was built for other data; its auxiliary head stays random.

    Args:
        model: a network of the weights' architecture and size.
        weights: what is put into it.
        data: its num_classes and in_channels.

    Returns:
        What had to be changed in the weights, as one sentence; None for nothing.

    Raises:
        ZooError: the weights are damaged, or the network is another one.
    """
    changes, source = changes_of(weights, data), load(weights)
    said = adapt(source, weights, changes) if changes else None
    state = stored_state(source)
    validate_tensors(weights.name, "the network to be trained", state, stored_state(model))
    model.load_state_dict(state, strict=False)  # names were compared
    return said


def changed_arguments(model: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a network's arguments with the classes and channels that it has by now."""
    now = dict(arguments)
    if isinstance(model, Backbone):
        actual = {"num_classes": model.num_classes, "in_channels": model.first_conv.in_channels}
        own = {**DEFAULTS, **arguments}
        now |= {key: value for key, value in actual.items() if value and value != own.get(key)}
    return now
