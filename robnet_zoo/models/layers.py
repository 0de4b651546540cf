"""Convolutions, sums and norms that the operations and the networks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

Pair = tuple[int, ...]
NARROW = 8  # inputs


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a same-size convolution without bias."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """Return `F.conv2d`, which with stride 2 reads even rows and columns only where that helps.

    On those it is a plain convolution: with dilation 2 a CPU computes its backward pass many times
    as fast, and that of narrow 1x1 kernels writes beyond its memory in oneDNN on AVX2.
    """
    narrow = weight.shape[1] < NARROW and weight.shape[2:] == (1, 1)
    even = dilation == (2, 2) or narrow
    if stride == (2, 2) and even and all(side % 2 == 0 for side in padding):
        x, padding = x[:, :, ::2, ::2], tuple(side // 2 for side in padding)
        stride = dilation = (1, 1)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


fx.wrap("conv2d")  # a step of its own in torch.fx graphs, where shapes are not known


class _Concat(torch.autograd.Function):
    """Concatenation whose backward pass hands on gradients that lie in one piece."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        ctx.widths = [x.shape[1] for x in maps]
        return torch.cat(maps, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (gradient,) = gradients
        layout = (
            torch.channels_last
            if gradient.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        parts = gradient.split(ctx.widths, dim=1)
        return tuple(part.contiguous(memory_format=layout) for part in parts)


def concat(maps: Sequence[Tensor]) -> Tensor:
    """Return maps side by side over their channels.

    On a GPU batch norm's backward pass is slow for gradients that are a part of another tensor.
    """
    return _Concat.apply(*maps) if maps[0].is_cuda else torch.cat(list(maps), dim=1)


class EvenConv(nn.Conv2d):
    """A convolution with stride 2 that reads even rows and columns only where that helps."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H/2, W/2)."""
        assert not isinstance(self.padding, str)
        geometry = self.stride, self.padding, self.dilation, self.groups
        return conv2d(x, self.weight, self.bias, *geometry)


def scaled_norm(norm: nn.BatchNorm2d, x: Tensor, scale: Tensor | None) -> Tensor:
    """Return a batch norm times a number, None for 1; with a number it must be without weights.

    The number takes the place of the weights, which costs nothing, in the backward pass neither.
    """
    if scale is None:
        return norm(x)
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    if norm.training:
        cast(Tensor, norm.num_batches_tracked).add_(1)
    weight = scale.to(mean.dtype).expand(norm.num_features).contiguous()  # as kernels need it
    momentum = cast(float, norm.momentum)
    return F.batch_norm(x, mean, variance, weight, None, norm.training, momentum, norm.eps)
