"""Rows of layers that are linear in eval mode, cut into those that make one convolution each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from robnet_zoo.models.layers import Pair
from robnet_zoo.models.operations import FactorizedReduce


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
            groups = first.groups if len(self.convolutions) == 1 else 1
            assert not isinstance(first.padding, str)
            return first.stride, first.padding, first.dilation, groups
        stride = 2 if isinstance(first, FactorizedReduce) else 1
        return (stride, stride), (0, 0), (1, 1), 1

    @property
    def convolutions(self) -> tuple[nn.Module, ...]:
        """All layers but the batch norm."""
        return tuple(layer for layer in self.layers if not isinstance(layer, nn.BatchNorm2d))

    @property
    def norm(self) -> nn.BatchNorm2d | None:
        """The batch norm at the end."""
        last = self.layers[-1]
        norm = last.bn if isinstance(last, FactorizedReduce) else last
        return norm if isinstance(norm, nn.BatchNorm2d) else None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(out, in / groups, kh, kw)."""
        first, *others = self.convolutions
        weight = first_convolution(first).weight
        out, inputs, *size = weight.shape
        if isinstance(first, FactorizedReduce):
            return 2 * out, inputs, 2, 2
        if others:
            inputs = out if is_depthwise(first) else inputs
            out = len(first_convolution(others[-1]).weight)
        height, width = size or (1, 1)
        return out, inputs, height, width

    @property
    def biased(self) -> bool:
        """Whether the convolution has a bias."""
        inner = (first_convolution(layer) for layer in self.convolutions)
        return self.norm is not None or any(layer.bias is not None for layer in inner)

    @property
    def kind(self) -> Hashable:
        """What chains have in common whose weights are computed as one batch."""
        inner = [(type(layer), first_convolution(layer)) for layer in self.convolutions]
        layers = tuple(
            (kind, is_depthwise(layer), layer.weight.shape, layer.bias is not None)
            for kind, layer in inner
        )
        norm = self.norm
        return layers, None if norm is None else (norm.eps, norm.affine)


def first_convolution(layer: nn.Module) -> nn.Conv2d:
    """Return a layer, or the first of the two that a FactorizedReduce has."""
    return cast(nn.Conv2d, layer.conv_1 if isinstance(layer, FactorizedReduce) else layer)


def is_depthwise(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution of each channel on its own."""
    return isinstance(layer, nn.Conv2d) and layer.groups > 1


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride == (1, 1)


def stages(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Cut layers at their ReLUs; a ReLU at the beginning is left out."""
    rows: list[list[nn.Module]] = [[]]
    for layer in layers:
        if not isinstance(layer, nn.ReLU):
            rows[-1].append(layer)
        elif rows[-1]:
            rows.append([])
    return rows


def chains(stage: Sequence[nn.Module], *, dense: bool) -> Iterator[Chain]:
    """Cut a stage into chains: one a convolution, or with `dense` one a convolution of space."""
    layers: list[nn.Module] = []
    for layer in stage:
        mixes = dense and len(layers) == 1 and _is_pointwise(layer)
        joins = isinstance(layer, nn.BatchNorm2d) or mixes
        if layers and not joins:
            yield Chain(tuple(layers))
            layers = []
        layers.append(layer)
    yield Chain(tuple(layers))
