"""The candidate operations of the search spaces, each from `width` channels to `width` channels.

Parameter names follow the DARTS and RobNet code, so that their checkpoints fit. All batch norms
take `affine`: RobNet's cells and the supernets go without, two-edge evaluation networks with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

from robnet_zoo.models.layers import NARROW, EvenConv, Pair, conv, conv2d, scaled_norm

SeparableMode = Literal["apart", "merged", "fused"]
FUSED_CHANNELS = 128  # at most, for our kernel, which pads them to a power of two


def _depthwise(width: int, kernel: int, stride: int, dilation: int) -> nn.Conv2d:
    kind = EvenConv if stride == dilation == 2 else nn.Conv2d
    padding = dilation * (kernel // 2)
    return kind(width, width, kernel, stride, padding, dilation, groups=width, bias=False)


class ReluConvBn(nn.Module):
    """ReLU, 1x1 convolution, batch norm: brings a cell's input to the cell's width."""

    def __init__(self, inputs: int, outputs: int, affine: bool) -> None:
        super().__init__()
        bn = nn.BatchNorm2d(outputs, affine=affine)
        self.op = nn.Sequential(nn.ReLU(), conv(inputs, outputs, 1), bn)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        return self.op(x)


class FactorizedReduce(nn.Module):
    """Halve both sides: two strided 1x1 convolutions, the second on the map shifted by (1, 1).

    Both sides must be even, and `outputs` too.
    """

    def __init__(self, inputs: int, outputs: int, affine: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        kind = EvenConv if inputs < NARROW else nn.Conv2d
        self.conv_1 = kind(inputs, outputs // 2, 1, stride=2, bias=False)
        self.conv_2 = kind(inputs, outputs // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H/2, W/2)."""
        return self.from_rectified(self.relu(x))

    def from_rectified(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return the map, times a number, of what the ReLU gives."""
        halves = [self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])]
        return scaled_norm(self.bn, torch.cat(halves, dim=1), scale)


class SeparableConv(nn.Module):
    """(ReLU, depthwise, pointwise, batch norm), `repeats` times; the first one takes the stride.

    Attributes:
        mode: how depthwise and pointwise are computed: "apart"; "merged" into the one dense
            convolution that they make, with up to 25 times the arithmetic and half of the memory
            traffic, for tensor cores; or "fused" into one kernel of our own, on a GPU in half
            precision, where it takes them, and merged elsewhere.
    """

    mode: SeparableMode = "apart"

    def __init__(
        self,
        width: int,
        kernel: int,
        stride: int,
        affine: bool,
        *,
        dilation: int = 1,
        repeats: int = 2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for step in [stride] + [1] * (repeats - 1):
            layers += [
                nn.ReLU(),
                _depthwise(width, kernel, step, dilation),
                conv(width, width, 1),
                nn.BatchNorm2d(width, affine=affine),
            ]
        self.op = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width, H/stride, W/stride)."""
        return self.op(x)

    def from_rectified(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return the map, times a number, of what the first ReLU gives."""
        _, *layers, last = self.op
        for layer in layers if self.mode == "apart" else _together(layers, self.mode):
            x = layer(x)
        return scaled_norm(cast(nn.BatchNorm2d, last), x, scale)


def _together(
    layers: Iterable[nn.Module], mode: SeparableMode
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield layers with each depthwise convolution and the pointwise one behind it as one."""
    remaining = iter(layers)
    for layer in remaining:
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            pointwise = cast(nn.Conv2d, next(remaining))
            fused = mode == "fused" and fusible(layer)
            yield partial(_fused if fused else _dense, depthwise=layer, pointwise=pointwise)
        else:
            yield layer


def fusible(depthwise: nn.Conv2d) -> bool:
    """Return whether our kernel takes a depthwise convolution."""
    return depthwise.stride == (1, 1) and depthwise.in_channels <= FUSED_CHANNELS


def _dense(x: Tensor, depthwise: nn.Conv2d, pointwise: nn.Conv2d) -> Tensor:
    weight = pointwise.weight * depthwise.weight.transpose(0, 1)  # (out, in, k, k)
    geometry = depthwise.stride, cast(Pair, depthwise.padding), depthwise.dilation
    return conv2d(x, weight, None, *geometry, 1)


def _fused(x: Tensor, depthwise: nn.Conv2d, pointwise: nn.Conv2d) -> Tensor:
    if not (x.is_cuda and torch.is_autocast_enabled("cuda")):
        return _dense(x, depthwise, pointwise)
    from robnet_zoo.models.fast.fused import trained

    dtype = torch.get_autocast_dtype("cuda")
    operands = (tensor.to(dtype) for tensor in (x, depthwise.weight, pointwise.weight))
    return trained(*operands, dilation=depthwise.dilation[0])


class NormalisedPool(nn.Sequential):
    """A pool and a batch norm without weights: how supernets hold pools."""


class Zero(nn.Module):
    """No connection: zeros of the size that a connection would have given."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width, H/stride, W/stride)."""
        return x[:, :, :: self.stride, :: self.stride] * 0


class ConvAndSkip(nn.Module):
    """RobNet's edge code 11: separable convolution plus identity, added in that order."""

    def __init__(self, width: int, stride: int, affine: bool) -> None:
        super().__init__()
        self.conv = SeparableConv(width, 3, stride, affine)
        self.res = skip(width, stride, affine)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width, H/stride, W/stride)."""
        return self.conv(x) + self.res(x)


class RobNetEdge(nn.Module):
    """The wrapper that RobNet's checkpoints have around each edge's operation."""

    def __init__(self, op: nn.Module) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        """Run the operation."""
        return self.op(x)


def skip(width: int, stride: int, affine: bool) -> nn.Module:
    """Return the identity, or a factorized reduce where the edge is strided."""
    return nn.Identity() if stride == 1 else FactorizedReduce(width, width, affine)


def _sep_conv(kernel: int) -> Callable[[int, int, bool], nn.Module]:
    return lambda width, stride, affine: SeparableConv(width, kernel, stride, affine)


def _dil_conv(kernel: int) -> Callable[[int, int, bool], nn.Module]:
    return lambda width, stride, affine: SeparableConv(
        width, kernel, stride, affine, dilation=2, repeats=1
    )


def _conv_7x1_1x7(width: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(width, width, (1, 7), (1, stride), padding=(0, 3), bias=False),
        nn.Conv2d(width, width, (7, 1), (stride, 1), padding=(3, 0), bias=False),
        nn.BatchNorm2d(width, affine=affine),
    )


# name or RobNet edge code -> (width, stride, affine) -> module
OPERATIONS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "none": lambda width, stride, affine: Zero(stride),
    "max_pool_3x3": lambda width, stride, affine: nn.MaxPool2d(3, stride, 1),
    "avg_pool_3x3": lambda width, stride, affine: nn.AvgPool2d(
        3, stride, 1, count_include_pad=False
    ),
    "skip_connect": skip,
    "sep_conv_3x3": _sep_conv(3),
    "sep_conv_5x5": _sep_conv(5),
    "sep_conv_7x7": _sep_conv(7),
    "dil_conv_3x3": _dil_conv(3),
    "dil_conv_5x5": _dil_conv(5),
    "conv_7x1_1x7": _conv_7x1_1x7,
    "00": lambda width, stride, affine: Zero(stride),
    "01": lambda width, stride, affine: RobNetEdge(SeparableConv(width, 3, stride, affine)),
    "10": lambda width, stride, affine: RobNetEdge(skip(width, stride, affine)),
    "11": lambda width, stride, affine: RobNetEdge(ConvAndSkip(width, stride, affine)),
}
