"""The folded form: a network as it is in eval mode, with everything merged that is linear.

Batch norm in eval mode is a constant scale and shift, which goes into the convolution before it.
All edges that leave a state read one ReLU of it, and a cell hands its output on rectified, since
every reader begins with a ReLU. What is left of a separable convolution takes one of three forms:

- "separable": the depthwise and the pointwise convolution, one after the other: little
  arithmetic, which is what counts in full precision;
- "dense": both merged into one dense convolution; those that leave a state are joined over their
  outputs, those that enter a node over their inputs, so that the node's sum is part of the
  product. Some nine kernels a cell in place of sixty, with up to nine times the arithmetic: for
  tensor cores, and for small maps of few channels;
- "fused": both in one kernel of our own (`fused.py`), for GPUs in half precision; what it does not
  take, strided convolutions and those of many channels, is computed densely.

Tensor cores want channels in multiples of eight, else inputs are copied into wider ones at every
convolution. Where all of a network is dense or fused and held in bfloat16, its states and hidden
layers have channels of zeros added up to that; they stay zero on their way.

All are exact: logits and input gradients differ from the plain form's by rounding alone.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from robnet_zoo.models.baselines import Layers
from robnet_zoo.models.cells import CellBlock
from robnet_zoo.models.denoise import Denoise
from robnet_zoo.models.fast.folded_conv import (
    Chain,
    FoldedConv,
    FoldedLinear,
    FoldedNorm,
    FusedSeparable,
    Join,
    Zeros,
    chains,
    plan,
    stages,
)
from robnet_zoo.models.fast.grouped import terms
from robnet_zoo.models.networks import STEM_STRIDE, Network
from robnet_zoo.models.operations import FactorizedReduce, fusible
from robnet_zoo.runtime.errors import unknown_name

Form = Literal["separable", "dense", "fused"]
Dense = Callable[[Sequence[nn.Module]], bool]  # of a row of linear layers
# A dense convolution's arithmetic grows with the square of channels times map side times kernel
# side. Up to this product dense ones are faster on a CPU, where fewer calls then count for more.
SMALL = 320
MULTIPLE = 8  # of channels, for tensor cores
PLAN = "_plan"  # the attribute of a folded form that holds how it is refreshed


def fold(
    model: nn.Module,
    form: Form | None = None,
    *,
    image_size: int | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Return a model with the same logits and input gradients as this one in eval mode, faster.

    It holds copies of the weights, in channels_last, none of which asks for a gradient; `refresh`
    brings them up to date. Networks of the zoo are folded; any other model, and one with hooks,
    is returned as it is.

    Args:
        model: a network of the zoo.
        form: how separable convolutions are computed. By default densely on a GPU in half
            precision or TF32 and, on a CPU, those of few channels on small maps; separably
            elsewhere. Networks without cells have one form.
        image_size: height and width of the images to come, in pixels; None for large ones.
        dtype: what convolutions hold their weights in; None for the model's own. The bfloat16
            form of a float32 model is only ever run under autocast: there passes have no weights
            to convert, and logits are the same to the bit, but for the order of sums where
            channels of zeros are added.

    Raises:
        ZooError: an unknown form.
    """
    if form is not None and form not in get_args(Form):
        raise unknown_name("form", form, get_args(Form))
    if any(_hooked(module) for module in model.modules()):
        return model
    if isinstance(model, Network) and _computes_as(model, Network):
        return FoldedNetwork(model, form, image_size, dtype).eval()
    if _computes_as(model, Layers):
        return _fold_traced(model, dtype)
    return model


def _computes_as(model: nn.Module, known: type[nn.Module]) -> bool:
    """Return whether a model is of a known class, or of a subclass that changes none of it."""
    methods = {
        name
        for base in known.__mro__
        for name, value in vars(base).items()
        if isinstance(value, FunctionType)
    }
    return isinstance(model, known) and all(
        getattr(type(model), name) is getattr(known, name) for name in methods
    )


def refresh(folded: nn.Module) -> None:
    """Let a folded form follow the weights of the model that it was made from.

    The form's tensors stay where they are, and no value is read back: a CUDA graph can hold it.
    """
    own = vars(folded)
    if PLAN not in own:
        own[PLAN] = plan(folded.modules())
    own[PLAN].refresh()


def _fill(folded: nn.Module, dtype: torch.dtype | None) -> None:
    """Give new folded layers their values, held in a dtype; None for the model's own."""
    for module in folded.modules():
        if isinstance(module, FoldedConv):
            module.to(dtype)
    refresh(folded)


def _suited(form: Form | None, weight: Tensor, dtype: torch.dtype | None) -> Form | None:
    """Return the form of a whole network; None for what suits each of its maps.

    Args:
        form: as wished; None for what suits the device.
        weight: one of the network's.
        dtype: that the weights are to be held in; None for their own.
    """
    if form is not None or not weight.is_cuda:
        return form
    half = (dtype or weight.dtype) == torch.bfloat16 or torch.is_autocast_enabled("cuda")
    return "dense" if half or torch.backends.cudnn.allow_tf32 else "separable"


def _denseness(cell: CellBlock, form: Form | None, side: int | None) -> Dense:
    """Return which of a cell's stages are computed densely.

    Args:
        cell: the cell.
        form: of all of them; None for what suits the map.
        side: of the cell's output, in pixels; None for a large one.
    """
    if form == "fused":
        return lambda stage: not _fusible(stage)
    if form is not None or side is None:
        return lambda stage: form == "dense"
    weight = next(cell.preprocess1.parameters())  # of a convolution to the cell's width

    def dense(stage: Sequence[nn.Module]) -> bool:
        kernel = max(stage[0].kernel_size) if isinstance(stage[0], nn.Conv2d) else 1
        return len(weight) * side * kernel <= SMALL

    return dense


def _fusible(stage: Sequence[nn.Module]) -> bool:
    first = stage[0]
    return (
        isinstance(first, nn.Conv2d)
        and first.groups == first.in_channels > 1
        and fusible(first)
        and len(stage) > 1
    )


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


class FoldedNetwork(nn.Module):
    """A `Network` in its folded form; an auxiliary head is left out.

    With `padded`, channels of zeros are added if all of it is dense or fused; None for where that
    pays.
    """

    def __init__(
        self,
        network: Network,
        form: Form | None = None,
        image_size: int | None = None,
        dtype: torch.dtype | None = None,
        padded: bool | None = None,
    ) -> None:
        super().__init__()
        self.check_images = network.check_images
        form = _suited(form, next(network.parameters()), dtype)
        if padded is None:
            padded = dtype == torch.bfloat16
        # widths must be the same everywhere, and denoising mixes channels in its own way
        whole = form in ("dense", "fused") and not network.denoise
        multiple = MULTIPLE if padded and whole else 1
        stems = [network.stem] if network.stem_name == "cifar" else [network.stem0, network.stem1]
        self.stems = nn.ModuleList(
            _folded(stem, multiple, parts=1 if at else 0) for at, stem in enumerate(stems)
        )
        self.denoise = nn.ModuleDict(
            {key: _fold_denoise(cast(Denoise, block)) for key, block in network.denoise.items()}
        )
        self.cells = nn.ModuleList()
        side = None if image_size is None else image_size // STEM_STRIDE[network.stem_name]
        older = newer = 1  # parts that a cell's inputs consist of
        for at, cell in enumerate(cast(Iterable[CellBlock], network.cells)):
            if side is not None and cell.reduction:
                side //= 2
            rectify = at < len(network.cells) - 1 and str(at) not in self.denoise
            dense = _denseness(cell, form, side)
            self.cells.append(
                FoldedCell(
                    cell,
                    dense,
                    multiple,
                    fused=form == "fused",
                    parts=(older, newer),
                    rectify=rectify,
                )
            )
            older, newer = newer, len(cell.concat)
        last = Chain((network.classifier,))
        zeros = replace(_zeros(last, multiple, newer), outputs=0)
        self.classifier = FoldedConv(last, zeros=zeros)
        _fill(self, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0,1] -> logits (N, num_classes)."""
        self.check_images(x)
        outputs = []
        for stem in self.stems:
            x = stem(x).relu_()
            outputs.append(x)
        older, newer = outputs[0], outputs[-1]
        for at, cell in enumerate(self.cells):
            older, newer = newer, cell(older, newer)
            if str(at) in self.denoise:
                newer = self.denoise[str(at)](newer).relu_()
        return self.classifier(F.adaptive_avg_pool2d(newer, 1)).flatten(1)


class FoldedCell(nn.Module):
    """A `CellBlock` in its folded form: (rectified, rectified) -> (N, width * nodes, H', W').

    Every edge ends in a tail, which writes into its node and reads a hidden layer or a rectified
    state; hidden layers come from heads, which read rectified states. Pools and identities read
    states as they are. Widths are rounded up to a multiple, by channels of zeros; `parts` says of
    how many padded states each of the two inputs consists.

    Attributes:
        rectify: whether the output is.
    """

    def __init__(
        self,
        cell: CellBlock,
        dense: Dense,
        multiple: int,
        *,
        fused: bool,
        parts: tuple[int, int],
        rectify: bool,
    ) -> None:
        super().__init__()
        self.concat, self.rectify = cell.concat, rectify
        self.preprocess = nn.ModuleList(
            _folded(module, multiple, count)
            for module, count in zip((cell.preprocess0, cell.preprocess1), parts, strict=True)
        )
        states = 2 + len(cell.wiring)
        heads: list[dict[str, list[nn.Module]]] = [{} for _ in range(states)]
        tails: list[dict[str, list[nn.Module]]] = [{} for _ in range(states)]
        self.direct: list[list[str]] = [[] for _ in range(states)]  # tails that read the state
        self.untouched: list[list[tuple[str, int]]] = [[] for _ in range(states)]
        self.operations = nn.ModuleDict()
        for node, edges in enumerate(cell.wiring, start=2):
            for key, source in edges:
                for number, (operation, _) in enumerate(terms(cell._ops[key])):
                    name, found = f"{key}_{number}", stages(_layers(operation))
                    if not _linear(found):
                        self.operations[name] = operation
                        self.untouched[node].append((name, source))
                        continue
                    *head, tails[node][name] = found
                    if head:
                        (heads[source][name],) = head
                    else:
                        self.direct[source].append(name)
        how: dict[str, Any] = {"dense": dense, "multiple": multiple, "fused": fused}
        self.heads = nn.ModuleList(_grouped(found, "outputs", **how) for found in heads)
        self.tails = nn.ModuleList(_grouped(found, "inputs", **how) for found in tails)

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        """Return the cell's output for the rectified outputs of the two cells before it."""
        states: list[Tensor] = []
        rectified: list[Tensor] = []
        read: dict[str, Tensor] = {}  # by tails
        for at in range(len(self.heads)):
            if at < 2:
                state = self.preprocess[at]((older, newer)[at])
            else:
                incoming = [tail(read) for tail in cast(Iterable[Tail], self.tails[at])]
                own = bool(incoming)
                incoming += [self.operations[name](states[i]) for name, i in self.untouched[at]]
                state = _sum(incoming, own=own)
            states.append(state)
            rectified.append(F.relu(state))
            read.update(dict.fromkeys(self.direct[at], rectified[at]))
            for head in cast(Iterable[Head], self.heads[at]):
                read.update(head(rectified[at]))
        outputs = rectified if self.rectify else states
        return torch.cat([outputs[i] for i in self.concat], dim=1)


class Head(nn.Module):
    """The hidden layers of some edges that leave a state, by edge."""

    def __init__(self, names: Iterable[str], layers: nn.Module) -> None:
        super().__init__()
        self.names, self.layers = tuple(names), layers

    def forward(self, rectified: Tensor) -> dict[str, Tensor]:
        """Return each edge's rectified hidden layer."""
        hidden = self.layers(rectified)
        if not isinstance(self.layers, FusedSeparable):
            hidden = hidden.relu_()
        return dict(zip(self.names, hidden.chunk(len(self.names), dim=1), strict=True))


class Tail(nn.Module):
    """The sum of what some edges write into a node."""

    def __init__(self, names: Iterable[str], layers: nn.Module) -> None:
        super().__init__()
        self.names, self.layers = tuple(names), layers

    def forward(self, read: Mapping[str, Tensor]) -> Tensor:
        """Return the sum for what each edge reads."""
        inputs = [read[name] for name in self.names]
        return self.layers(inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1))


def _sum(terms: list[Tensor], *, own: bool) -> Tensor:
    """Return the sum; the first term may be written to if it is our own."""
    total, *others = terms
    for term in others:
        total = total.add_(term) if own else total + term
        own = True
    return total


def _grouped(
    found: Mapping[str, list[nn.Module]], join: Join, *, dense: Dense, multiple: int, fused: bool
) -> nn.ModuleList:
    """Return heads ("outputs") or tails ("inputs") for edges' stages, joined where possible."""
    kind, relu = (Head if join == "outputs" else Tail), join == "outputs"
    alike: dict[Any, dict[str, list[Chain]]] = defaultdict(dict)
    for name, stage in found.items():
        whole = dense(stage)
        parts = list(chains(stage, dense=whole))
        single = whole and len(parts) == 1 and parts[0].geometry[3] == 1
        alike[(parts[0].geometry, parts[0].kind) if single else name][name] = parts
    return nn.ModuleList(
        kind(group, _side_by_side([part for (part,) in group.values()], multiple, join))
        if len(group) > 1
        else kind(group, _alone(*group.values(), multiple=multiple, relu=relu, fused=fused))
        for group in alike.values()
    )


def _alone(found: list[Chain], *, multiple: int, relu: bool, fused: bool) -> nn.Module:
    """Return one edge's convolutions; where they are fused, perhaps with the ReLU behind them."""
    row = _convolutions(found, multiple=multiple)
    if not (fused and len(row) == 2):
        return row
    depthwise, pointwise = cast(Iterable[FoldedConv], row)
    return FusedSeparable(depthwise, pointwise, relu=relu)


def _side_by_side(found: Sequence[Chain], multiple: int, join: Join) -> FoldedConv:
    return FoldedConv(*found, join=join, zeros=_zeros(found[0], multiple))


def _convolutions(found: Iterable[Chain], *, multiple: int, parts: int = 1) -> nn.Sequential:
    """Return a row of convolutions, the first of which reads parts as in `_zeros`."""
    return nn.Sequential(
        *(
            FoldedConv(chain, zeros=_zeros(chain, multiple, 1 if at else parts))
            for at, chain in enumerate(found)
        )
    )


def _zeros(chain: Chain, multiple: int, parts: int = 1) -> Zeros:
    """Return what rounds a chain's outputs, and each part of its inputs, up to a multiple.

    Args:
        chain: the chain.
        multiple: 1 where nothing is rounded.
        parts: that its inputs consist of; 0 for an image, which stays as it is.
    """
    out, inputs, *_ = chain.shape
    depthwise = chain.geometry[3] > 1
    added = -(inputs // parts) % multiple if parts and not depthwise else 0
    return Zeros(-out % multiple, added, parts if added else 1)


def _folded(module: nn.Module, multiple: int, parts: int) -> nn.Sequential:
    """Return a row of layers without their first ReLU, which reads parts as in `_zeros`."""
    first, *others = (
        _convolutions(chains(stage, dense=False), multiple=multiple, parts=1 if at else parts)
        for at, stage in enumerate(stages(_layers(module)))
    )
    return nn.Sequential(first, *(nn.Sequential(nn.ReLU(inplace=True), one) for one in others))


def _layers(operation: nn.Module) -> list[nn.Module]:
    inner = getattr(operation, "op", operation)
    return list(inner) if isinstance(inner, nn.Sequential) else [inner]


def _linear(found: list[list[nn.Module]]) -> bool:
    known = (nn.Conv2d, nn.BatchNorm2d, FactorizedReduce)
    return all(isinstance(layer, known) for stage in found for layer in stage)


def _fold_denoise(block: Denoise) -> Denoise:
    folded = copy.deepcopy(block)
    for name in ("theta", "phi"):
        setattr(folded, name, FoldedConv(Chain((getattr(block, name),))))
    folded.conv, folded.bn = FoldedConv(Chain((block.conv, block.bn))), nn.Identity()
    return folded


def _fold_traced(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """Return a human-designed network with each batch norm inside the convolution before it."""
    traced = fx.symbolic_trace(model)
    layers = dict(model.named_modules())
    merged = set()
    for node in list(traced.graph.nodes):
        name = str(node.target)
        layer = layers.get(name) if node.op == "call_module" else None
        if isinstance(layer, nn.Linear):
            traced.set_submodule(name, FoldedLinear(Chain((layer,))))
        elif isinstance(layer, nn.BatchNorm2d) and node not in merged:
            traced.set_submodule(name, FoldedNorm(layer))
        elif isinstance(layer, nn.Conv2d):
            chain: tuple[nn.Module, ...] = (layer,)
            following = next(iter(node.users))
            norm = layers.get(str(following.target)) if following.op == "call_module" else None
            if len(node.users) == 1 and isinstance(norm, nn.BatchNorm2d):
                chain = (layer, norm)
                merged.add(following)
                following.replace_all_uses_with(node)
                traced.graph.erase_node(following)
            traced.set_submodule(name, FoldedConv(Chain(chain)))
    traced.delete_all_unused_submodules()
    traced.recompile()
    _fill(traced, dtype)
    return traced.eval()
