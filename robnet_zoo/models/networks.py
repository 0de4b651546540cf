"""The network around the cells: stem, cells, pooling, classifier and an optional auxiliary head."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, cast

from torch import Tensor, fx, nn

from robnet_zoo.genotypes import Genotype
from robnet_zoo.models.cells import CellBlock, CellPlan, plan_cells
from robnet_zoo.models.denoise import Denoise
from robnet_zoo.models.features import Backbone, FeatureInfo
from robnet_zoo.models.layers import conv
from robnet_zoo.runtime.errors import ZooError, unknown_name

Stem = Literal["cifar", "imagenet"]
STEM_MULTIPLE = 3  # the CIFAR stem gives this many times `channels`
STEM_STRIDE = {"cifar": 1, "imagenet": 8}
# an image's sides must be multiples of this: two reduction cells follow the stem
SIDE_DIVISOR = {stem: 4 * stride for stem, stride in STEM_STRIDE.items()}


class AuxiliaryHead(nn.Module):
    """A second classifier on a (N, inputs, side, side) map, used in training only (as in DARTS).

    ReLU, 5x5 average pool with stride 3, 1x1 convolution, then a convolution over the whole map
    that is left: 2x2 for the 8x8 map of 32x32 images, 4x4 for the 16x16 map of 64x64 ones. On
    maps smaller than 5x5 the pool takes the mean of the map.
    """

    def __init__(self, inputs: int, num_classes: int, side: int) -> None:
        super().__init__()
        window = min(5, side)
        self.side, self.inputs = side, 768
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(window, stride=3, count_include_pad=False),
            conv(inputs, 128, 1),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, (side - window) // 3 + 1, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier: nn.Module = nn.Linear(self.inputs, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, side, side) -> logits (N, num_classes)."""
        if x.shape[2:] != (self.side, self.side):
            raise ZooError(
                f"The auxiliary head is made for maps of {self.side}x{self.side} and got "
                f"{x.shape[2]}x{x.shape[3]}; build the network with image_size as in your data."
            )
        return self.classifier(self.features(x).flatten(1))


class Network(Backbone):
    """A searched network: images (N, C, H, W) with pixels in [0,1] -> logits (N, num_classes).

    There is no input normalisation. Each cell reads the outputs of the two cells before it.
    Build one with `build_network`.
    """

    classifier_name = "classifier"

    def __init__(
        self,
        plans: Sequence[CellPlan],
        *,
        channels: int,
        num_classes: int,
        in_channels: int,
        stem: Stem,
        auxiliary_side: int | None,
        denoise: bool,
    ) -> None:
        super().__init__()
        self.in_channels, self.stem_name = in_channels, stem
        if stem == "cifar":
            newer = older = STEM_MULTIPLE * channels
            self.stem = nn.Sequential(conv(in_channels, newer, 3), nn.BatchNorm2d(newer))
        else:
            newer = older = channels
            half = channels // 2
            self.stem0 = nn.Sequential(
                conv(in_channels, half, 3, stride=2),
                nn.BatchNorm2d(half),
                nn.ReLU(),
                conv(half, channels, 3, stride=2),
                nn.BatchNorm2d(channels),
            )
            self.stem1 = nn.Sequential(
                nn.ReLU(), conv(channels, channels, 3, stride=2), nn.BatchNorm2d(channels)
            )
        cells: list[CellBlock] = []
        self.denoise = nn.ModuleDict()
        reduce_first = stem == "imagenet"
        for index, plan in enumerate(plans):
            width = plan.multiple * channels
            cells.append(CellBlock(plan, older, newer, width, reduce_first=reduce_first))
            older, newer = newer, width * len(plan.concat)
            reduce_first = plan.reduction
            if plan.reduction:
                self.auxiliary_at, auxiliary_inputs = index, newer
                if denoise:
                    self.denoise[str(index)] = Denoise(newer)
        self.cells = nn.ModuleList(cells)
        self.auxiliary_head = (
            AuxiliaryHead(auxiliary_inputs, num_classes, auxiliary_side) if auxiliary_side else None
        )
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.num_features = newer
        self.classifier: nn.Module = nn.Linear(newer, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; an auxiliary head is not run."""
        return self.forward_head(self.forward_features(x))

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the auxiliary head's logits, both (N, num_classes).

        Raises:
            ZooError: the network was built without an auxiliary head.
        """
        if self.auxiliary_head is None:
            raise ZooError("This network has no auxiliary head; build it with auxiliary=True.")
        last, (features,) = self._maps(x, {self.auxiliary_at})
        return self.forward_head(last), self.auxiliary_head(features)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0,1] -> the last cell's output (N, num_features, h, w)."""
        return self._maps(x)[0]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool the last map, and classify it unless `pre_logits`."""
        pooled = self.global_pooling(x).flatten(1)
        return pooled if pre_logits else self.classifier(pooled)

    @property
    def feature_info(self) -> FeatureInfo:
        """The last cell's output at each resolution, largest maps first."""
        info, reduction = FeatureInfo(), STEM_STRIDE[self.stem_name]
        for index in self._stage_ends():
            kind = "denoise" if str(index) in self.denoise else "cells"
            width = self._cells()[index].channels
            info.append({"num_chs": width, "reduction": reduction, "module": f"{kind}.{index}"})
            reduction *= 2
        return info

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """Return the maps of `feature_info` for images (N, C, H, W) with pixels in [0,1]."""
        return self._maps(x, self._stage_ends())[1]

    def _stage_ends(self) -> list[int]:
        """Return the cells before a reduction, and the last one."""
        reductions = [index for index, cell in enumerate(self._cells()) if cell.reduction]
        return [*(index - 1 for index in reductions), len(self.cells) - 1]

    def _cells(self) -> list[CellBlock]:
        return cast(list[CellBlock], list(self.cells))

    def reset_classifier(self, num_classes: int) -> None:
        """Put new, random linear layers in the classifiers' places; for 0 an identity."""
        super().reset_classifier(num_classes)
        if self.auxiliary_head is not None:
            inputs = self.auxiliary_head.inputs
            self.auxiliary_head.classifier = self._linear(inputs, num_classes)

    def reset_in_channels(self, in_channels: int) -> None:
        """Make the stem read images of so many channels; see `Backbone`."""
        super().reset_in_channels(in_channels)
        self.in_channels = in_channels

    def _maps(self, x: Tensor, keep: Collection[int] = ()) -> tuple[Tensor, list[Tensor]]:
        """Return the last cell's output, and those of the cells numbered in `keep`."""
        x, kept = checked(x, self.in_channels, SIDE_DIVISOR[self.stem_name]), []
        if self.stem_name == "cifar":
            older = newer = self.stem(x)
        else:
            older = self.stem0(x)
            newer = self.stem1(older)
        for index, cell in enumerate(self.cells):
            older, newer = newer, cell(older, newer)
            if str(index) in self.denoise:
                newer = self.denoise[str(index)](newer)
            if index in keep:
                kept.append(newer)
        return newer, kept

    def check_images(self, x: Tensor) -> None:
        """Raise ZooError unless the network takes images of this shape."""
        checked(x, self.in_channels, SIDE_DIVISOR[self.stem_name])


def checked(x: Tensor, in_channels: int, divisor: int) -> Tensor:
    """Return images, or raise ZooError unless a network takes images of their shape."""
    sides_fit = x.dim() == 4 and x.shape[2] % divisor == 0 and x.shape[3] % divisor == 0
    if not sides_fit or x.shape[1] != in_channels:
        raise ZooError(
            f"The network got images of shape {tuple(x.shape)}; it takes "
            f"(N, {in_channels}, H, W) with H and W divisible by {divisor}."
        )
    return x


fx.wrap("checked")  # a step of its own in torch.fx graphs, where shapes are not known


def check_sizes(*, channels: int, num_classes: int, in_channels: int) -> None:
    """Raise ZooError for a width or a count that no network of the zoo can have."""
    if channels < 2 or channels % 2:
        raise ZooError(f"channels={channels} is not possible; use an even number, 2 or more.")
    for name, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if value < 1:
            raise ZooError(f"{name}={value} is not possible; use 1 or more.")


def check_image_size(stem: Stem, image_size: int) -> None:
    """Raise ZooError for images that a network with this stem cannot take."""
    if image_size < 1 or image_size % SIDE_DIVISOR[stem]:
        raise ZooError(
            f"image_size={image_size} is not possible; with the {stem} stem an image's sides are "
            f"multiples of {SIDE_DIVISOR[stem]}: pad or resize the images."
        )


def build_network(
    genotype: Genotype,
    *,
    channels: int,
    layers: int,
    num_classes: int = 10,
    in_channels: int = 3,
    stem: Stem = "cifar",
    auxiliary: bool = False,
    image_size: int = 32,
    denoise: bool = False,
) -> Network:
    """Build a searched network.

    Args:
        genotype: the architecture code, such as `genotypes.published("racl")`.
        channels: the width C of the first cells, even.
        layers: the number of cells, at least 3; RobNet-free has a code for each of its 20.
        num_classes: the number of logits.
        in_channels: 3 for colour images, 1 for grey ones.
        stem: "cifar" keeps the image's size, "imagenet" divides it by 8 before the first cell.
        auxiliary: add an auxiliary head behind the second reduction cell, for training.
        image_size: the side of the images, which only the auxiliary head depends on.
        denoise: add a feature-denoising block behind each of the two reduction cells. RobNet's
            paper (Table 4) does not say where its blocks are; this place is ours.

    Raises:
        ZooError: a width, depth, stem or image size that the architecture cannot have.
    """
    if stem not in SIDE_DIVISOR:
        raise unknown_name("stem", stem, SIDE_DIVISOR)
    check_sizes(channels=channels, num_classes=num_classes, in_channels=in_channels)
    check_image_size(stem, image_size)
    return Network(
        plan_cells(genotype, layers),
        channels=channels,
        num_classes=num_classes,
        in_channels=in_channels,
        stem=stem,
        auxiliary_side=image_size // SIDE_DIVISOR[stem] if auxiliary else None,
        denoise=denoise,
    )
