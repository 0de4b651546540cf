"""Pictures of any size made into what a network takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robnet_zoo.data import dataset_info, list_datasets
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.registry import get_weights
from robnet_zoo.zoo.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Transform:
    """Makes a picture a network's input: `model(transform(picture)[None])`.

    Attributes:
        image_size: height and width of the input in pixels.
        channels: of the input, 1 or 3.
        crop: the part of the picture's shorter side that is kept.
    """

    image_size: int
    channels: int
    crop: float = 1.0

    def __call__(self, picture: Any) -> Tensor:
        """Return the picture's centre as floats (C, H, W) in [0,1]; see `data.images.fit`."""
        from robnet_zoo.data.images import fit

        return fit(picture, self.image_size, self.channels, self.crop)


def transform(weights: Weights | str) -> Transform:
    """Return what makes a PIL image or an array the input of a set of weights.

    Args:
        weights: the metadata, or a name that `get_weights` takes, such as "racl.digits".

    Raises:
        ZooError: there are no such weights.
    """
    known = get_weights(weights) if isinstance(weights, str) else weights
    return transform_of(known.config(), known.arguments)


def transform_of(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> Transform:
    """Return the transform of a network, from its entries of config.json and its arguments.

    Raises:
        ZooError: the entries do not say the size of the images.
    """
    if "image_size" not in config:
        raise ZooError(
            "The network does not know the size of its images, as it was not loaded from weights; "
            "say it yourself: robnet_zoo.zoo.Transform(image_size=32, channels=3)."
        )
    dataset = config.get("dataset")
    crop = dataset_info(dataset).crop if dataset in list_datasets() else 1.0
    return Transform(config["image_size"], arguments.get("in_channels", 3), crop)
