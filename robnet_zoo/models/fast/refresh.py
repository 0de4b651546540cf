"""How the layers of a folded form get their values.

Weights are computed for all convolutions of a network together: chains that are alike as one
batch, batch norms that are alike as one vector. That takes few kernels, and since no value is read
back, a CUDA graph can hold them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.models.fast.chains import first_convolution, is_depthwise
from robnet_zoo.models.fast.folded_layers import NO_ZEROS, FoldedConv, FoldedNorm, Zeros
from robnet_zoo.models.operations import FactorizedReduce

PLAN = "_plan"  # the attribute of a folded form that holds how it is refreshed


def refresh(folded: nn.Module) -> None:
    """Let a folded form follow the weights of the model that it was made from.

    The form's tensors stay where they are, and no value is read back: a CUDA graph can hold it.
    """
    own = vars(folded)
    if PLAN not in own:
        own[PLAN] = refresh_plan(folded.modules())
    own[PLAN].refresh()


def fill(folded: nn.Module, dtype: torch.dtype | None) -> None:
    """Give new folded layers their values, held in a dtype; None for the model's own."""
    for module in folded.modules():
        if isinstance(module, FoldedConv):
            module.to(dtype)
    refresh(folded)


@dataclass(frozen=True)
class ConvBatch:
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
        if is_depthwise(first[0]):
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
class ConvFamily:
    """Batches with batch norms of one kind, and either all or none with biases before them."""

    batches: tuple[ConvBatch, ...]

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
        biases = [bias.flatten() for batch in self.batches if (bias := batch.biases()) is not None]
        shift = torch.cat(biases) if biases else None
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
class RefreshPlan:
    """How a network's folded layers get their values; it holds modules, but no tensors."""

    families: tuple[ConvFamily, ...]
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


def refresh_plan(modules: Iterable[nn.Module]) -> RefreshPlan:
    """Return how the folded layers among some modules get their values."""
    alike: dict[Hashable, list[FoldedConv]] = defaultdict(list)
    norms = []
    for module in modules:
        if isinstance(module, FoldedNorm):
            norms.append(module)
        elif isinstance(module, FoldedConv):
            alike[_joined(module), module.zeros, module.chains[0].kind].append(module)
    families: dict[Hashable, list[ConvBatch]] = defaultdict(list)
    for convs in alike.values():
        parts = [chain for conv in convs for chain in conv.chains]
        batch = ConvBatch(
            convs=tuple(convs),
            joined=_joined(convs[0]),
            outputs=tuple(len(conv.weight) for conv in convs),
            zeros=convs[0].zeros,
            places=tuple(zip(*(chain.convolutions for chain in parts), strict=True)),
            norms=tuple(chain.norm for chain in parts if chain.norm is not None),
        )
        norm = parts[0].norm
        biased = any(first_convolution(layer).bias is not None for layer in parts[0].convolutions)
        kind = None if norm is None else (norm.eps, norm.affine)
        families[kind, biased].append(batch)
    return RefreshPlan(
        tuple(ConvFamily(tuple(batches)) for batches in families.values()), tuple(norms)
    )


def _joined(conv: FoldedConv) -> int:
    return len(conv.chains) if conv.join == "inputs" else 1


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
    if first_convolution(layers[0]).bias is None:
        return None
    return torch.stack([cast(Tensor, layer.bias) for layer in layers])


def _joint(norms: Sequence[nn.BatchNorm2d], name: str) -> Tensor:
    """Return a vector of all norms, one after the other."""
    return torch.cat([cast(Tensor, getattr(norm, name)) for norm in norms])


def _values(norm: nn.BatchNorm2d) -> list[Tensor]:
    """Return what a batch norm in eval mode depends on."""
    values = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return [value.detach() for value in values if value is not None]
