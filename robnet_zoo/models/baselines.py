"""Human-designed networks for small images, which the papers compare with.

All keep the image's size in the stem (3x3, stride 1, no pooling) and take any side from 8 pixels.
Parameters with 10 classes, beside RobNet's Table 1: ResNet-18 11,173,962 (11.17M), ResNet-50
23,520,842 (23.52M), WideResNet-28-10 36,479,194 (36.48M), DenseNet-121 6,956,298 (6.95M, if cut
rather than rounded), VGG-19 with batch norm 20,040,522 (RACL's source of transferred attacks, whose
size it does not give).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from robnet_zoo.models.blocks import BasicBlock, Bottleneck, DenseLayer, WideBlock
from robnet_zoo.models.denoise import Denoise
from robnet_zoo.models.features import Backbone, FeatureInfo, last_maps
from robnet_zoo.models.layers import conv
from robnet_zoo.models.networks import check_sizes
from robnet_zoo.runtime.errors import ZooError, unknown_name


class Layers(Backbone, nn.Sequential):
    """Named layers in a row: maps, a pool and a classifier last."""

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__(layers)
        self.classifier_name, last = next(reversed(layers.items()))
        self.num_features = cast(nn.Linear, last).in_features

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0,1] -> the last map (N, num_features, h, w)."""
        for _, layer in self._map_layers():
            x = layer(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool the last map, and classify it unless `pre_logits`."""
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return pooled if pre_logits else self.get_classifier()(pooled)

    @cached_property
    def feature_info(self) -> FeatureInfo:
        """The last map at each resolution, largest maps first."""
        return last_maps(self._map_layers(), self.first_conv.in_channels)

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """Return the maps of `feature_info` for images (N, C, H, W) with pixels in [0,1]."""
        maps, names = [], self.feature_info.module_name()
        for name, layer in self._map_layers():
            x = layer(x)
            if name in names:
                maps.append(x)
        return maps

    def _map_layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the layers before the pool; `features` is a row of its own."""
        for name, layer in self.named_children():
            if name == "avgpool":
                return
            inner = layer.named_children() if name == "features" else [("", layer)]
            yield from ((f"{name}.{part}".rstrip("."), module) for part, module in inner)


def _he_initialised(model: Layers) -> Layers:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return model


def _with_head(layers: dict[str, nn.Module], width: int, num_classes: int) -> Layers:
    head = {
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(width, num_classes),
    }
    return _he_initialised(Layers(OrderedDict(layers | head)))


def _resnet(
    block: type[BasicBlock] | type[Bottleneck],
    depths: tuple[int, ...],
    *,
    num_classes: int,
    in_channels: int,
    channels: int,
    denoise: bool = False,
) -> Layers:
    """Build a ResNet with torchvision's layer names and a stem for small images."""
    layers: dict[str, nn.Module] = {
        "conv1": conv(in_channels, channels, 3),
        "bn1": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
    }
    inputs = channels
    for number, depth in enumerate(depths, start=1):
        width, blocks = channels * 2 ** (number - 1), []
        outputs = width * block.expansion
        for index in range(depth):
            stride = 2 if number > 1 and index == 0 else 1
            shortcut = None
            if stride > 1 or inputs != outputs:
                shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
            blocks.append(block(inputs, width, stride, shortcut))
            inputs = outputs
        layers[f"layer{number}"] = nn.Sequential(*blocks)
        if denoise and number > 1:
            layers[f"denoise{number}"] = Denoise(outputs)
    return _with_head(layers, inputs, num_classes)


def _wide_resnet_28_10(*, num_classes: int, in_channels: int, channels: int) -> Layers:
    layers: dict[str, nn.Module] = {"conv1": conv(in_channels, channels, 3)}
    inputs = channels
    for number, stride in enumerate((1, 2, 2), start=1):
        width = 10 * channels * 2 ** (number - 1)
        blocks = [WideBlock(inputs, width, stride)]
        blocks += [WideBlock(width, width, 1) for _ in range(3)]
        layers[f"layer{number}"] = nn.Sequential(*blocks)
        inputs = width
    layers |= {"bn": nn.BatchNorm2d(inputs), "relu": nn.ReLU()}
    return _with_head(layers, inputs, num_classes)


def _densenet121(*, num_classes: int, in_channels: int, channels: int) -> Layers:
    """Build a DenseNet with torchvision's layer names and a stem for small images."""
    growth, inputs = channels // 2, channels
    features: dict[str, nn.Module] = {"conv0": conv(in_channels, channels, 3)}
    depths = (6, 12, 24, 16)
    for number, depth in enumerate(depths, start=1):
        block = {}
        for index in range(1, depth + 1):
            block[f"denselayer{index}"] = DenseLayer(inputs, growth)
            inputs += growth
        features[f"denseblock{number}"] = nn.Sequential(OrderedDict(block))
        if number < len(depths):
            features[f"transition{number}"] = _transition(inputs)
            inputs //= 2
    features["norm5"] = nn.BatchNorm2d(inputs)
    layers = {
        "features": nn.Sequential(OrderedDict(features)),
        "relu": nn.ReLU(),
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(inputs, num_classes),
    }
    return _he_initialised(Layers(OrderedDict(layers)))


def _transition(inputs: int) -> nn.Sequential:
    """Return DenseNet's way to half the maps of half the side."""
    layers = {
        "norm": nn.BatchNorm2d(inputs),
        "relu": nn.ReLU(),
        "conv": conv(inputs, inputs // 2, 1),
        "pool": nn.AvgPool2d(2),
    }
    return nn.Sequential(OrderedDict(layers))


def _vgg19(*, num_classes: int, in_channels: int, channels: int) -> Layers:
    layers: list[nn.Module] = []
    inputs = in_channels
    for multiple, depth in ((1, 2), (2, 2), (4, 4), (8, 4), (8, 4)):
        for _ in range(depth):
            width = multiple * channels
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
        # Rounding up changes nothing for 32x32 and lets smaller maps through, down to 1x1.
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return _with_head({"features": nn.Sequential(*layers)}, inputs, num_classes)


# name -> builder, the published width of the stem
BASELINES: dict[str, tuple[Callable[..., Layers], int]] = {
    "resnet18": (partial(_resnet, BasicBlock, (2, 2, 2, 2)), 64),
    "resnet50": (partial(_resnet, Bottleneck, (3, 4, 6, 3)), 64),
    "wrn_28_10": (_wide_resnet_28_10, 16),
    "densenet121": (_densenet121, 64),
    "vgg19": (_vgg19, 64),
}


def build_baseline(
    name: str,
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    channels: int | None = None,
    denoise: bool = False,
) -> Layers:
    """Build a human-designed network: images (N, C, H, W) in [0,1] -> logits (N, num_classes).

    Args:
        name: one of `BASELINES`.
        num_classes: the number of logits.
        in_channels: 3 for colour images, 1 for grey ones.
        channels: the stem's width, even, that all other widths follow; None for the published one.
        denoise: add a feature-denoising block behind each stage that halves the image (ResNets
            only, as in RobNet's Table 4).

    Raises:
        ZooError: no such network, a size it cannot have, or denoising where there is none.
    """
    if name not in BASELINES:
        raise unknown_name("baseline", name, BASELINES)
    builder, published_width = BASELINES[name]
    width = published_width if channels is None else channels
    check_sizes(channels=width, num_classes=num_classes, in_channels=in_channels)
    if denoise and not name.startswith("resnet"):
        raise ZooError(f"'{name}' has no denoising blocks; use resnet18 or resnet50.")
    options = {"denoise": True} if denoise else {}
    return builder(num_classes=num_classes, in_channels=in_channels, channels=width, **options)
