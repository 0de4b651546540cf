"""Weights that a training run starts from, for `train --init`; importing this imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.registry import find_weights

if TYPE_CHECKING:
    from torch import nn

    from robnet_zoo.data import Dataset
    from robnet_zoo.train.settings import Settings

LOCAL = "local-dir:"


def init_settings(name: str) -> dict[str, Any]:
    """Return the settings of a run that starts from weights: their network, name and sha256.

    Args:
        name: what `get_weights` takes ("racl.cifar10", "hf-hub:org/name"), or a folder.

    Raises:
        ZooError: there are no such weights.
    """
    weights = find_weights(name)
    own = weights.arguments
    size = {key: own[key] for key in ("channels", "layers") if key in own}
    model = {"model": weights.architecture} if weights.architecture in ARCHITECTURES else {}
    init = weights.name if name in ARCHITECTURES else name
    return {**model, **size, "init": init, "init_sha256": weights.sha256}


def initialise(model: nn.Module, settings: Settings, dataset: Dataset) -> str | None:
    """Put the weights that the settings name into a network; return what was changed in them.

    Raises:
        ZooError: they are not those that the settings were made with, or not of this network.
    """
    from robnet_zoo.zoo.surgery import transfer

    name = str(settings.init)
    weights = find_weights(name)
    if weights.sha256 != settings.init_sha256:
        raise ZooError(
            f"'{name}' holds other weights by now than those that this run is to start from; "
            "start a new run."
        )
    return transfer(
        model, weights, num_classes=dataset.num_classes, in_channels=dataset.in_channels
    )


def origin(settings: Settings) -> dict[str, Any]:
    """Return what a weights folder says of where its training started; nothing without `init`."""
    if settings.init is None:
        return {}
    name = settings.init
    if name.startswith(LOCAL) or Path(name).is_dir():
        name = Path(name.removeprefix(LOCAL)).name
    return {"init": {"weights": name, "sha256": settings.init_sha256}}
