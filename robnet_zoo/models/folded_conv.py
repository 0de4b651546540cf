"""A convolution that stands for several linear layers of a network in eval mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from robnet_zoo.models.operations import FactorizedReduce, Pair, conv2d

Join = Literal["outputs", "inputs"]


@dataclass(frozen=True)
class Chain:
    """Layers that make one convolution together.

    Attributes:
        layers: a convolution or a FactorizedReduce without its ReLU, or a linear classifier;
            then perhaps a 1x1 convolution, then perhaps a batch norm.
    """

    layers: tuple[nn.Module, ...]

    @property
    def geometry(self) -> tuple[Pair, Pair, Pair, int]:
        """Stride, padding, dilation and groups."""
        first = self.layers[0]
        if isinstance(first, nn.Conv2d):
            groups = first.groups if len(self._convolutions) == 1 else 1
            assert not isinstance(first.padding, str)
            return first.stride, first.padding, first.dilation, groups
        stride = 2 if isinstance(first, FactorizedReduce) else 1
        return (stride, stride), (0, 0), (1, 1), 1

    @property
    def size(self) -> Pair:
        """Height and width of the kernel."""
        return tuple(self.weights()[0].shape[2:])

    @property
    def _convolutions(self) -> list[nn.Module]:
        return [layer for layer in self.layers if not isinstance(layer, nn.BatchNorm2d)]

    @torch.no_grad()
    def weights(self) -> tuple[Tensor, Tensor]:
        """Return weight (out, in / groups, kh, kw) and bias (out,)."""
        first, *others = self._convolutions
        weight, bias = _own_weights(first)
        for pointwise in others:
            assert isinstance(first, nn.Conv2d)
            mixing, offset = _own_weights(pointwise)
            mixing = mixing[:, :, 0, 0]
            # depthwise kernels meet no others on their way: spread over the inputs, not summed
            spread = "om,mkl->omkl" if first.groups > 1 else "om,mikl->oikl"
            weight = torch.einsum(spread, mixing, weight[:, 0] if first.groups > 1 else weight)
            bias = offset + mixing @ bias
        norm = self.layers[-1].bn if isinstance(first, FactorizedReduce) else self.layers[-1]
        if not isinstance(norm, nn.BatchNorm2d):
            return weight, bias
        assert norm.running_mean is not None and norm.running_var is not None
        statistics = (norm.running_mean, norm.running_var, norm.eps)
        return fuse_conv_bn_weights(weight, bias, *statistics, norm.weight, norm.bias)


def _own_weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer as those of a convolution."""
    if isinstance(layer, FactorizedReduce):
        # two strided 1x1 convolutions: the corners of a 2x2 kernel, for half of the outputs each
        weight = F.pad(layer.conv_1.weight, (0, 1, 0, 1))
        weight = torch.cat([weight, F.pad(layer.conv_2.weight, (1, 0, 1, 0))])
        return weight, weight.new_zeros(len(weight))
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    weight = layer.weight if layer.weight.ndim == 4 else layer.weight[:, :, None, None]
    return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias


class FoldedConv(nn.Module):
    """A convolution whose weight and bias are computed from other modules, without gradients.

    Several chains of one geometry, without groups, make one convolution: side by side over their
    "outputs", or over their "inputs", so that their results are summed. Convolutions follow their
    weights in the order of memory, and these are in channels_last.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, *chains: Chain, join: Join = "outputs") -> None:
        super().__init__()
        self.chains, self.join = chains, join
        self.stride, self.padding, self.dilation, self.groups = chains[0].geometry
        weight, bias = self._weights()
        weight = weight.contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight.detach().clone(), persistent=False)
        self.register_buffer("bias", bias.detach().clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        geometry = self.stride, self.padding, self.dilation, self.groups
        return conv2d(x, self.weight, self.bias, *geometry)

    @torch.no_grad()
    def refresh(self) -> None:
        """Follow the layers that the weights come from, in the same memory."""
        weight, bias = self._weights()
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def _weights(self) -> tuple[Tensor, Tensor]:
        weights, biases = zip(*(chain.weights() for chain in self.chains), strict=True)
        if self.join == "outputs":
            return torch.cat(weights), torch.cat(biases)
        return torch.cat(weights, dim=1), torch.stack(biases).sum(0)


def stages(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Cut layers at their ReLUs; a ReLU at the beginning is left out."""
    found: list[list[nn.Module]] = [[]]
    for layer in layers:
        if not isinstance(layer, nn.ReLU):
            found[-1].append(layer)
        elif found[-1]:
            found.append([])
    return found


def chains(stage: Sequence[nn.Module], *, dense: bool) -> Iterator[Chain]:
    """Cut a stage into chains: one a convolution, or with `dense` one a convolution of space."""
    layers: list[nn.Module] = []
    for layer in stage:
        joins = isinstance(layer, nn.BatchNorm2d) or (dense and _is_pointwise(layer))
        if layers and not joins:
            yield Chain(tuple(layers))
            layers = []
        layers.append(layer)
    yield Chain(tuple(layers))


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride == (1, 1)
