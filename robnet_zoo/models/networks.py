"""The network around the cells: stem, cells, pooling, classifier and an optional auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from robnet_zoo.genotypes import Genotype
from robnet_zoo.models.cells import CellBlock, CellPlan, plan_cells
from robnet_zoo.models.denoise import Denoise
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
        self.side = side
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
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, side, side) -> logits (N, num_classes)."""
        if x.shape[2:] != (self.side, self.side):
            raise ZooError(
                f"The auxiliary head is made for maps of {self.side}x{self.side} and got "
                f"{x.shape[2]}x{x.shape[3]}; build the network with image_size as in your data."
            )
        return self.classifier(self.features(x).flatten(1))


class Network(nn.Module):
    """A searched network: images (N, C, H, W) with pixels in [0,1] -> logits (N, num_classes).

    There is no input normalisation. Each cell reads the outputs of the two cells before it.
    Build one with `build_network`.
    """

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
        self.classifier = nn.Linear(newer, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; an auxiliary head is not run."""
        return self._outputs(x)[0]

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the auxiliary head's logits, both (N, num_classes).

        Raises:
            ZooError: the network was built without an auxiliary head.
        """
        if self.auxiliary_head is None:
            raise ZooError("This network has no auxiliary head; build it with auxiliary=True.")
        logits, features = self._outputs(x)
        return logits, self.auxiliary_head(features)

    def _outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the output of the second reduction cell."""
        self.check_images(x)
        if self.stem_name == "cifar":
            older = newer = self.stem(x)
        else:
            older = self.stem0(x)
            newer = self.stem1(older)
        for index, cell in enumerate(self.cells):
            older, newer = newer, cell(older, newer)
            if str(index) in self.denoise:
                newer = self.denoise[str(index)](newer)
            if index == self.auxiliary_at:
                features = newer
        return self.classifier(self.global_pooling(newer).flatten(1)), features

    def check_images(self, x: Tensor) -> None:
        """Raise ZooError unless the network takes images of this shape."""
        divisor = SIDE_DIVISOR[self.stem_name]
        sides_fit = x.dim() == 4 and x.shape[2] % divisor == 0 and x.shape[3] % divisor == 0
        if not sides_fit or x.shape[1] != self.in_channels:
            raise ZooError(
                f"The network got images of shape {tuple(x.shape)}; it takes "
                f"(N, {self.in_channels}, H, W) with H and W divisible by {divisor}."
            )


def check_sizes(*, channels: int, num_classes: int, in_channels: int) -> None:
    """Raise ZooError for a width or a count that no network of the zoo can have."""
    if channels < 2 or channels % 2:
        raise ZooError(f"channels={channels} is not possible; use an even number, 2 or more.")
    for name, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if value < 1:
            raise ZooError(f"{name}={value} is not possible; use 1 or more.")


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
    if image_size < 1 or image_size % SIDE_DIVISOR[stem]:
        raise ZooError(
            f"image_size={image_size} is not possible; with the {stem} stem an image's sides are "
            f"multiples of {SIDE_DIVISOR[stem]}: pad or resize the images."
        )
    return Network(
        plan_cells(genotype, layers),
        channels=channels,
        num_classes=num_classes,
        in_channels=in_channels,
        stem=stem,
        auxiliary_side=image_size // SIDE_DIVISOR[stem] if auxiliary else None,
        denoise=denoise,
    )
