"""A convolution that stands for several linear layers of a network in eval mode.

Weights are computed for all convolutions of a network together (`Plan`): chains that are alike as
one batch, batch norms that are alike as one vector. That takes few kernels, and since no value is
read back, a CUDA graph can hold them.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        weight = _inner(first).weight
        out, inputs, *size = weight.shape
        if isinstance(first, FactorizedReduce):
            return 2 * out, inputs, 2, 2
        if others:
            inputs = out if _is_depthwise(first) else inputs
            out = len(_inner(others[-1]).weight)
        height, width = size or (1, 1)
        return out, inputs, height, width

    @property
    def biased(self) -> bool:
        """Whether the convolution has a bias."""
        inner = (_inner(layer) for layer in self.convolutions)
        return self.norm is not None or any(layer.bias is not None for layer in inner)

    @property
    def kind(self) -> Hashable:
        """What chains have in common whose weights are computed as one batch."""
        inner = [(type(layer), _inner(layer)) for layer in self.convolutions]
        layers = tuple(
            (kind, _is_depthwise(layer), layer.weight.shape, layer.bias is not None)
            for kind, layer in inner
        )
        norm = self.norm
        return layers, None if norm is None else (norm.eps, norm.affine)


@dataclass(frozen=True)
class Zeros:
    """Channels of zeros that a chain's convolution has besides its own.

    Attributes:
        outputs: how many follow the outputs.
        inputs: how many follow each part of the inputs.
        parts: how many equal parts the inputs consist of.
    """

    outputs: int = 0
    inputs: int = 0
    parts: int = 1


NO_ZEROS = Zeros()


class FoldedConv(nn.Module):
    """A convolution whose weight and bias are computed from other modules, without gradients.

    Several chains of one geometry and kind, without groups, make one convolution: side by side
    over their "outputs", or over their "inputs", so that their results are summed. Convolutions
    follow their weights in the order of memory, and these are in channels_last. A `Plan` gives
    them their values.

    Attributes:
        zeros: what is added to each chain's channels.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, *chains: Chain, join: Join = "outputs", zeros: Zeros = NO_ZEROS) -> None:
        super().__init__()
        self.chains, self.join, self.zeros = chains, join, zeros
        self.stride, self.padding, self.dilation, self.groups = chains[0].geometry
        if self.groups > 1:
            self.groups += zeros.outputs
        out, inputs, height, width = chains[0].shape
        out, inputs = out + zeros.outputs, inputs + zeros.parts * zeros.inputs
        out, inputs = (
            (len(chains) * out, inputs) if join == "outputs" else (out, len(chains) * inputs)
        )
        like = _inner(chains[0].layers[0]).weight.detach()
        weight = like.new_empty(out, height, width, inputs).permute(0, 3, 1, 2)
        self.register_buffer("weight", weight, persistent=False)
        bias = like.new_empty(out) if chains[0].biased else None
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        geometry = self.stride, self.padding, self.dilation, self.groups
        return conv2d(x, self.weight, self.bias, *geometry)


class FusedSeparable(nn.Module):
    """A depthwise and a pointwise convolution, which a GPU computes as one kernel.

    Attributes:
        relu: whether a ReLU is part of it.
    """

    def __init__(self, depthwise: FoldedConv, pointwise: FoldedConv, *, relu: bool) -> None:
        super().__init__()
        self.depthwise, self.pointwise, self.relu = depthwise, pointwise, relu

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        if not x.is_cuda:
            x = self.pointwise(self.depthwise(x))
            return x.relu_() if self.relu else x
        from robnet_zoo.models.fast.fused import separable

        taps, mixing, bias = self.depthwise.weight, self.pointwise.weight, self.pointwise.bias
        assert bias is not None
        dilation = self.depthwise.dilation[0]
        return separable(x.to(taps.dtype), taps, mixing, bias, dilation=dilation, relu=self.relu)


class FoldedLinear(FoldedConv):
    """A linear layer, held as a 1x1 convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return F.linear(x, self.weight.flatten(1), self.bias)


class FoldedNorm(nn.Module):
    """A copy of a batch norm that has no convolution before it to go into."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.source = (norm,)  # in a tuple, so that it is not a part of this module
        self.own = copy.deepcopy(norm).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.own(x)


@dataclass(frozen=True)
class Batch:
    """Convolutions whose chains are of one kind.

    Attributes:
        convs: the convolutions.
        joined: how many chains each has side by side over its inputs.
        outputs: each one's number of outputs, zeros included.
        zeros: what is added to each chain's channels.
        places: the chains' first layers, then perhaps their 1x1 convolutions.
        norms: the chains' batch norms; none where they have none.
    """

    convs: tuple[FoldedConv, ...]
    joined: int
    outputs: tuple[int, ...]
    zeros: Zeros
    places: tuple[tuple[nn.Module, ...], ...]
    norms: tuple[nn.BatchNorm2d, ...]

    @property
    def channels(self) -> int:
        """How many outputs all chains have of their own."""
        return self.joined * sum(self.outputs) - len(self.places[0]) * self.zeros.outputs

    def biases(self) -> Tensor | None:
        """Return (chains, out) before the norms, None where no layer has a bias."""
        first, *others = self.places
        bias = _biases(first)
        for pointwise in others:
            offset = _biases(pointwise)
            if bias is None:
                bias = offset
                continue
            with torch.autocast(bias.device.type, enabled=False):
                mixed = (_kernels(pointwise).flatten(2) @ bias[:, :, None]).squeeze(2)
            bias = mixed if offset is None else offset + mixed
        return bias

    def weights(self, scale: Tensor | None) -> tuple[Tensor, ...]:
        """Return each convolution's weight.

        Args:
            scale: the norms' factors, one chain's after the other's.
        """
        weight = self._merged()
        if scale is not None:
            factors = scale.view(len(weight), self.joined, 1, 1, -1, 1).transpose(1, 4)
            weight.mul_(factors)
        _, _, height, width, *inputs = weight.shape
        zeros = self.zeros
        if zeros.parts > 1:
            weight = weight.unflatten(5, (zeros.parts, -1))
        if zeros != NO_ZEROS:
            between = (weight.dim() - 3) * (0, 0)
            weight = F.pad(weight, (0, zeros.inputs, *between, 0, zeros.outputs))
            inputs = list(weight.shape[4:])
        rows = weight.view(-1, height, width, math.prod(inputs))
        return rows.permute(0, 3, 1, 2).split(self.outputs)

    def sums(self, shift: Tensor) -> tuple[Tensor, ...]:
        """Return each convolution's bias for those of the chains, one after the other."""
        added = (0, self.zeros.outputs)
        if self.joined > 1:
            sums = shift.view(len(self.convs), self.joined, -1).sum(1)
            return (F.pad(sums, added) if any(added) else sums).unbind()
        if any(added):
            shift = F.pad(shift.view(len(self.places[0]), -1), added).flatten()
        return shift.split(self.outputs)

    def _merged(self) -> Tensor:
        """Return new weights (n, out, kh, kw, joined, in) before the norms."""
        first, *others = self.places
        weight = _kernels(first)
        if not others:
            return self._laid(weight)
        mixing = _kernels(others[0])
        if _is_depthwise(first[0]):
            # these kernels meet no others on their way: spread over the inputs, not summed
            mixing, weight = self._laid(mixing), self._laid(weight.transpose(1, 4))
            # into a tensor of our own, whose order in memory does not follow the factors'
            product = mixing.new_empty(torch.broadcast_shapes(mixing.shape, weight.shape))
            return torch.mul(mixing, weight, out=product)
        with torch.autocast(weight.device.type, enabled=False):
            mixed = mixing.flatten(2) @ weight.flatten(2)
        return self._laid(mixed.unflatten(2, weight.shape[2:]))

    def _laid(self, weight: Tensor) -> Tensor:
        """Lay (chains, out, kh, kw, in) out as (n, out, kh, kw, joined, in)."""
        if self.joined == 1:
            return weight.unsqueeze(4).contiguous()
        parts = weight.unflatten(0, (-1, self.joined))
        return parts.permute(0, 2, 3, 4, 1, 5).contiguous()


@dataclass(frozen=True)
class Family:
    """Batches with batch norms of one kind, and either all or none with biases before them."""

    batches: tuple[Batch, ...]

    def refresh(self) -> None:
        """Give the convolutions their values."""
        scale, shift = self._scale_and_shift()
        sizes = [batch.channels for batch in self.batches]
        scales = [None] * len(sizes) if scale is None else scale.split(sizes)
        for batch, own in zip(self.batches, scales, strict=True):
            torch._foreach_copy_([conv.weight for conv in batch.convs], batch.weights(own))
        if shift is not None:
            parts = zip(self.batches, shift.split(sizes), strict=True)
            biases = [bias for batch, own in parts for bias in batch.sums(own)]
            held = [cast(Tensor, conv.bias) for batch in self.batches for conv in batch.convs]
            torch._foreach_copy_(held, biases)

    def _scale_and_shift(self) -> tuple[Tensor | None, Tensor | None]:
        """Return what multiplies the outputs of all chains and what is then added."""
        found = [bias.flatten() for batch in self.batches if (bias := batch.biases()) is not None]
        shift = torch.cat(found) if found else None
        norms = [norm for batch in self.batches for norm in batch.norms]
        if not norms:
            return None, shift
        # in the order of torch.nn.utils.fusion
        mean, variance = (_joint(norms, name) for name in ("running_mean", "running_var"))
        scale = torch.rsqrt(variance + norms[0].eps)
        shift = (mean.neg() if shift is None else shift - mean) * scale
        if not norms[0].affine:
            return scale, shift
        weight, bias = (_joint(norms, name) for name in ("weight", "bias"))
        return weight * scale, shift * weight + bias


@dataclass(frozen=True)
class Plan:
    """How a network's folded layers get their values; it holds modules, but no tensors."""

    families: tuple[Family, ...]
    norms: tuple[FoldedNorm, ...]

    @torch.no_grad()
    def refresh(self) -> None:
        """Let all layers follow the layers that they come from, in the same memory."""
        for family in self.families:
            family.refresh()
        if self.norms:
            held = [tensor for norm in self.norms for tensor in _values(norm.own)]
            torch._foreach_copy_(
                held, [tensor for norm in self.norms for tensor in _values(norm.source[0])]
            )


def plan(modules: Iterable[nn.Module]) -> Plan:
    """Return how the folded layers among some modules get their values."""
    alike: dict[Hashable, list[FoldedConv]] = defaultdict(list)
    norms = []
    for module in modules:
        if isinstance(module, FoldedNorm):
            norms.append(module)
        elif isinstance(module, FoldedConv):
            alike[_joined(module), module.zeros, module.chains[0].kind].append(module)
    families: dict[Hashable, list[Batch]] = defaultdict(list)
    for convs in alike.values():
        parts = [chain for conv in convs for chain in conv.chains]
        batch = Batch(
            convs=tuple(convs),
            joined=_joined(convs[0]),
            outputs=tuple(len(conv.weight) for conv in convs),
            zeros=convs[0].zeros,
            places=tuple(zip(*(chain.convolutions for chain in parts), strict=True)),
            norms=tuple(chain.norm for chain in parts if chain.norm is not None),
        )
        norm = parts[0].norm
        biased = any(_inner(layer).bias is not None for layer in parts[0].convolutions)
        kind = None if norm is None else (norm.eps, norm.affine)
        families[kind, biased].append(batch)
    return Plan(tuple(Family(tuple(batches)) for batches in families.values()), tuple(norms))


def _joined(conv: FoldedConv) -> int:
    return len(conv.chains) if conv.join == "inputs" else 1


def _inner(layer: nn.Module) -> nn.Conv2d:
    """Return a layer, or the first of the two that a FactorizedReduce has."""
    return cast(nn.Conv2d, layer.conv_1 if isinstance(layer, FactorizedReduce) else layer)


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1


def _kernels(layers: Sequence[nn.Module]) -> Tensor:
    """Return the weights of layers of one kind as (n, out, kh, kw, in), in new memory."""
    if isinstance(layers[0], FactorizedReduce):
        # two strided 1x1 convolutions: the corners of a 2x2 kernel, for half of the outputs each
        corners = (("conv_1", (0, 0, 0, 1, 0, 1)), ("conv_2", (0, 0, 1, 0, 1, 0)))
        return torch.cat(
            [F.pad(_kernels([getattr(two, name) for two in layers]), pad) for name, pad in corners],
            dim=1,
        )
    weights = torch.stack([cast(Tensor, layer.weight) for layer in layers])
    count, out, inputs, *size = weights.shape
    height, width = size or (1, 1)
    if inputs == 1 or height == width == 1:  # in this order already
        return weights.reshape(count, out, height, width, inputs)
    return weights.permute(0, 1, 3, 4, 2)


def _biases(layers: Sequence[nn.Module]) -> Tensor | None:
    """Return (n, out) for layers of one kind, None where they have no biases."""
    if _inner(layers[0]).bias is None:
        return None
    return torch.stack([cast(Tensor, layer.bias) for layer in layers])


def _joint(norms: Sequence[nn.BatchNorm2d], name: str) -> Tensor:
    """Return a vector of all norms, one after the other."""
    return torch.cat([cast(Tensor, getattr(norm, name)) for norm in norms])


def _values(norm: nn.BatchNorm2d) -> list[Tensor]:
    """Return what a batch norm in eval mode depends on."""
    values = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return [value.detach() for value in values if value is not None]


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
        mixes = dense and len(layers) == 1 and _is_pointwise(layer)
        joins = isinstance(layer, nn.BatchNorm2d) or mixes
        if layers and not joins:
            yield Chain(tuple(layers))
            layers = []
        layers.append(layer)
    yield Chain(tuple(layers))


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride == (1, 1)
