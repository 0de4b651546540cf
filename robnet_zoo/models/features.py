"""A network as a backbone: its classifier, and its maps at each resolution, in timm's words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.runtime.errors import ZooError


class FeatureInfo(list[dict[str, Any]]):
    """What maps a network gives: "num_chs", "reduction" (image side / map side) and "module"."""

    def channels(self) -> list[int]:
        """Return the channels of each map."""
        return [entry["num_chs"] for entry in self]

    def reduction(self) -> list[int]:
        """Return how many times smaller than the image's each map's sides are."""
        return [entry["reduction"] for entry in self]

    def module_name(self) -> list[str]:
        """Return the name of the module whose output each map is."""
        return [entry["module"] for entry in self]


class Backbone(nn.Module):
    """A network of convolutions, a global average pool and a classifier.

    Attributes:
        classifier_name: the classifier's name among the modules.
        num_features: channels of the last map, which are what the classifier reads.
    """

    classifier_name: str
    num_features: int

    @property
    def feature_info(self) -> FeatureInfo:
        """The last map at each resolution, largest maps first."""
        raise NotImplementedError

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """Return the maps of `feature_info` for images (N, C, H, W) with pixels in [0,1]."""
        raise NotImplementedError

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) with pixels in [0,1] -> the last map (N, num_features, h, w)."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool the last map, and classify it unless `pre_logits`."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        """The number of logits; 0 without a classifier."""
        classifier = self.get_classifier()
        return classifier.out_features if isinstance(classifier, nn.Linear) else 0

    def get_classifier(self) -> nn.Module:
        """Return the last layer: linear, or an identity after `reset_classifier(0)`."""
        return self.get_submodule(self.classifier_name)

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new, random linear layer in the classifier's place; for 0 an identity.

        Raises:
            ZooError: the number is below 0.
        """
        if num_classes < 0:
            raise ZooError(f"num_classes={num_classes} is not possible; use 0 or more.")
        setattr(self, self.classifier_name, self._linear(self.num_features, num_classes))

    def _linear(self, inputs: int, outputs: int) -> nn.Module:
        like = next(self.parameters())
        layer: nn.Module = nn.Identity()
        if outputs:
            layer = nn.Linear(inputs, outputs, device=like.device, dtype=like.dtype)
        return layer.train(self.training)

    @property
    def first_conv(self) -> nn.Conv2d:
        """The convolution that reads the images."""
        return next(layer for layer in self.modules() if isinstance(layer, nn.Conv2d))

    def reset_in_channels(self, in_channels: int) -> None:
        """Make the first convolution read images of so many channels, from the weights it has.

        As in timm, weights are added up for a single channel, and repeated and scaled for several,
        so that what grey images give in all channels stays as it was.
        """
        conv = self.first_conv
        weight = conv.weight.detach()
        if in_channels == 1:
            weight = weight.sum(dim=1, keepdim=True)
        else:
            times = -(-in_channels // conv.in_channels)
            weight = weight.repeat(1, times, 1, 1)[:, :in_channels]
            weight = weight * (conv.in_channels / in_channels)
        conv.weight, conv.in_channels = nn.Parameter(weight), in_channels


class FeatureMaps(nn.Module):
    """A network without its classifier, which gives a list of maps (timm's `features_only`).

    Args:
        network: its classifier is removed.
        out_indices: which maps of its `feature_info`; all if None.
    """

    def __init__(self, network: Backbone, out_indices: Iterable[int] | None = None) -> None:
        super().__init__()
        known = network.feature_info
        chosen = range(len(known)) if out_indices is None else out_indices
        self.out_indices = tuple(chosen)
        if not all(-len(known) <= index < len(known) for index in self.out_indices):
            raise ZooError(
                f"out_indices={self.out_indices} asks for maps that are not there; there are "
                f"{len(known)}, so use 0 to {len(known) - 1}."
            )
        network.reset_classifier(0)
        self.network = network
        self.feature_info = FeatureInfo(known[index] for index in self.out_indices)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, C, H, W) with pixels in [0,1] -> maps (N, channels, h, w)."""
        maps = self.network.feature_maps(x)
        return [maps[index] for index in self.out_indices]


def last_maps(layers: Iterable[tuple[str, nn.Module]], in_channels: int) -> FeatureInfo:
    """Return the last map at each resolution of layers in a row, found on shapes alone."""
    side = 64  # of an image that halves six times
    x = torch.empty(2, in_channels, side, side, device="meta")
    last: dict[int, dict[str, Any]] = {}
    for name, layer in layers:
        state = {key: tensor.to("meta") for key, tensor in layer.state_dict().items()}
        with torch.no_grad():
            x = torch.func.functional_call(layer, state, (x,))
        reduction = side // x.shape[-1]
        last[reduction] = {"num_chs": x.shape[1], "reduction": reduction, "module": name}
    return FeatureInfo(last.values())
