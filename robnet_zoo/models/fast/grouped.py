"""All operations that read one state, computed together.

Their first ReLU is the same, and so are pools of one kind and, in training, the batch norms behind
them. Separable convolutions of one geometry can furthermore run as one: side by side in one
depthwise convolution, one pointwise convolution in groups, and one batch norm, each of which keeps
its parameters and its statistics. On a GPU the few large kernels gain; on a CPU groups are slower
than the convolutions one by one. Either way outputs, gradients and statistics are those of the
operations on their own, up to rounding.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import islice
from typing import NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.models.operations import (
    ConvAndSkip,
    FactorizedReduce,
    NormalisedPool,
    Pair,
    RobNetEdge,
    SeparableConv,
    conv2d,
    scaled_norm,
)

Key = TypeVar("Key", bound=Hashable)


class Term(NamedTuple):
    """An operation, and the number that multiplies it; None for 1."""

    operation: nn.Module
    scale: Tensor | None = None


def terms(edge: nn.Module) -> list[Term]:
    """Return the operations whose sum an edge of a network is, in the order of the sum."""
    if isinstance(edge, RobNetEdge):
        edge = edge.op
    if isinstance(edge, ConvAndSkip):
        return [Term(edge.conv), Term(edge.res)]
    return [Term(edge)]


def total(maps: Iterable[Tensor]) -> Tensor:
    """Return the sum of one or more maps, added in order."""
    return reduce(operator.add, maps)


def edge_outputs(
    state: Tensor, edges: Mapping[Key, Sequence[Term]], grouped: bool | None = None
) -> dict[Key, Tensor]:
    """Return the outputs of the edges that read a state.

    Args:
        state: (N, width, H, W).
        edges: each edge's terms, one or more, which are added in order.
        grouped: whether separable convolutions of one geometry run as one; None for what suits
            the state's device.
    """
    all_terms = [term for edge in edges.values() for term in edge]
    if grouped is None:
        grouped = isinstance(state, Tensor) and state.is_cuda  # no tensor: torch.fx is tracing
    outputs = iter(_outputs(state, all_terms, grouped))
    return {key: total(islice(outputs, len(edge))) for key, edge in edges.items()}


def _outputs(state: Tensor, terms: Sequence[Term], grouped: bool) -> list[Tensor]:
    """Return each term's map, in their order."""
    families: dict[Hashable, list[int]] = {}
    for place, term in enumerate(terms):
        families.setdefault(_group_key(term.operation, grouped) or place, []).append(place)
    if any(isinstance(term.operation, SeparableConv | FactorizedReduce) for term in terms):
        rectified = F.relu(state)
    outputs: dict[int, Tensor] = {}
    for places in families.values():
        family = [terms[place] for place in places]
        operation, scale = family[0]
        if isinstance(operation, NormalisedPool):
            maps = _pools(state, family)
        elif isinstance(operation, SeparableConv) and len(family) > 1:
            maps = _grouped(rectified, family)
        elif isinstance(operation, SeparableConv | FactorizedReduce):
            maps = [operation.from_rectified(rectified, scale)]
        else:
            alone = operation(state)
            maps = [alone if scale is None else scale * alone]
        outputs.update(zip(places, maps, strict=True))
    return [outputs[place] for place in range(len(terms))]


def _group_key(operation: nn.Module, grouped: bool) -> Hashable:
    """Return what operations of one group have in common; None for ungrouped ones."""
    if isinstance(operation, NormalisedPool):
        return type(operation[0]), operation[0].stride
    if not (grouped and isinstance(operation, SeparableConv)):
        return None
    norms = [layer for layer in operation.op if isinstance(layer, nn.BatchNorm2d)]
    if any(type(norm) is not nn.BatchNorm2d or norm.momentum is None for norm in norms):
        return None  # such as one over several processes: not computed by F.batch_norm
    depthwise = cast(nn.Conv2d, operation.op[1])
    geometry = depthwise.kernel_size, depthwise.stride, depthwise.dilation
    return geometry, len(norms), norms[0].affine, norms[0].training


def _pools(state: Tensor, family: Sequence[Term]) -> list[Tensor]:
    """Return the maps of pools of one kind, each followed by a batch norm without weights."""
    pool, _ = cast(NormalisedPool, family[0].operation)
    norms = [cast(nn.BatchNorm2d, cast(NormalisedPool, term.operation)[1]) for term in family]
    pooled = pool(state)
    if not norms[0].training:
        return [
            scaled_norm(norm, pooled, term.scale) for norm, term in zip(norms, family, strict=True)
        ]
    mean, variance = _blank(norms[:1])
    normal = F.batch_norm(pooled, mean, variance, None, None, True, 1.0, norms[0].eps)
    _track(norms, [mean] * len(norms), [variance] * len(norms))
    return [normal if term.scale is None else term.scale * normal for term in family]


def _grouped(rectified: Tensor, family: Sequence[Term]) -> list[Tensor]:
    """Return the maps of separable convolutions of one geometry, computed as one."""
    count = len(family)
    x = torch.cat([rectified] * count, dim=1)
    rows = zip(*(cast(SeparableConv, term.operation).op for term in family), strict=True)
    _, *layers, last = rows  # of layers side by side, without the first ReLU
    for alike in layers:
        first = alike[0]
        if isinstance(first, nn.Conv2d):
            weight = torch.cat([cast(nn.Conv2d, conv).weight for conv in alike])
            groups = first.groups * count
            geometry = first.stride, cast(Pair, first.padding), first.dilation
            x = conv2d(x, weight, None, *geometry, groups)
        elif isinstance(first, nn.BatchNorm2d):
            x = _joint_norm(cast(Sequence[nn.BatchNorm2d], alike), x, [None] * count)
        else:
            x = first(x)
    x = _joint_norm(cast(Sequence[nn.BatchNorm2d], last), x, [term.scale for term in family])
    return list(x.split(x.shape[1] // count, 1))


def _joint_norm(
    norms: Sequence[nn.BatchNorm2d], x: Tensor, scales: Sequence[Tensor | None]
) -> Tensor:
    """Return the norms, each times its scale, of as many equal parts of the channels of x."""
    first = norms[0]
    weight = bias = None
    if first.affine:
        weight, bias = (
            torch.cat([cast(Tensor, getattr(norm, name)) for norm in norms])
            for name in ("weight", "bias")
        )
    elif scales[0] is not None:
        factors = torch.stack(cast(list[Tensor], scales)).to(first.running_mean)
        weight = factors.repeat_interleave(first.num_features)
    if not first.training:
        mean, variance = (
            torch.cat([cast(Tensor, getattr(norm, name)) for norm in norms])
            for name in ("running_mean", "running_var")
        )
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, first.eps)
    mean, variance = _blank(norms)
    x = F.batch_norm(x, mean, variance, weight, bias, True, 1.0, first.eps)
    _track(norms, mean.chunk(len(norms)), variance.chunk(len(norms)))
    return x


def _blank(norms: Sequence[nn.BatchNorm2d]) -> tuple[Tensor, Tensor]:
    """Return places for a batch's mean and variance in all channels of some norms."""
    channels = len(norms) * norms[0].num_features
    mean, variance = cast(Tensor, norms[0].running_mean).new_zeros(2, channels)
    return mean, variance


def _track(
    norms: Sequence[nn.BatchNorm2d], means: Sequence[Tensor], variances: Sequence[Tensor]
) -> None:
    """Let each norm's running statistics follow those of its batch."""
    for name, batch in (("running_mean", means), ("running_var", variances)):
        running = [cast(Tensor, getattr(norm, name)) for norm in norms]
        torch._foreach_lerp_(running, list(batch), cast(float, norms[0].momentum))
    torch._foreach_add_([cast(Tensor, norm.num_batches_tracked) for norm in norms], 1)
