"""What `predict` and `attack` share: a picture, and a network that names what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.zoo.classes import class_names
from robnet_zoo.zoo.weights import Weights

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


@dataclass(frozen=True)
class Classifier:
    """A network of the zoo, on its device, with the names of its classes."""

    weights: Weights
    names: tuple[str, ...]
    model: nn.Module
    device: str

    def probabilities(self, image: Tensor) -> np.ndarray:
        """Return the probability of each class (classes,) for an image (C, H, W)."""
        import torch

        with torch.no_grad():
            logits = self.model(image[None].to(self.device))
        return logits[0].double().softmax(0).cpu().numpy()


def load_classifier(weights: Weights, device: str) -> Classifier:
    """Load weights onto a device, which is "auto" or a name of torch's.

    Raises:
        ZooError: they are damaged, or there is no such device.
    """
    from robnet_zoo.zoo.load import load

    place = pick_device(device)
    return Classifier(weights, class_names(weights), load(weights).to(place), place)


def read_input(path: Path, weights: Weights) -> Tensor:
    """Return a picture's file as the input (C, H, W) of a set of weights.

    Raises:
        ZooError: the file is no picture that can be read.
    """
    from robnet_zoo.data.images import read_picture
    from robnet_zoo.zoo import transform

    return transform(weights)(read_picture(path))


def describe_input(weights: Weights) -> str:
    """Return what pictures become for a set of weights, and what such networks know."""
    side, channels = weights.image_size, weights.arguments.get("in_channels", 3)
    return f"{side}x{side} {'grey' if channels == 1 else 'colour'} pixels"


def subject_note(weights: Weights) -> str | None:
    """Return a sentence on weights that know nothing like an ordinary photograph."""
    from robnet_zoo.data import dataset_info, list_datasets

    known = weights.dataset in list_datasets()
    subject = dataset_info(weights.dataset).subject if known else ""
    if not subject:
        return None
    return f"{weights.name} knows {subject}; of any other picture its answer means nothing."
