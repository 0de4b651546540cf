"""A searched network in its folded form; `folded.py` says what that is."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.models.cells import CellBlock
from robnet_zoo.models.denoise import Denoise
from robnet_zoo.models.fast.chains import Chain, chains, stages
from robnet_zoo.models.fast.folded_layers import FoldedConv, FusedSeparable, Join, Zeros
from robnet_zoo.models.fast.forms import Dense, Form, denseness, suited_form
from robnet_zoo.models.fast.grouped import terms
from robnet_zoo.models.fast.refresh import fill
from robnet_zoo.models.networks import STEM_STRIDE, Network
from robnet_zoo.models.operations import FactorizedReduce

MULTIPLE = 8  # of channels, for tensor cores


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
        form = suited_form(form, next(network.parameters()), dtype)
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
            dense = denseness(cell, form, side)
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
        fill(self, dtype)

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
                    name, row = f"{key}_{number}", stages(_layers(operation))
                    if not _linear(row):
                        self.operations[name] = operation
                        self.untouched[node].append((name, source))
                        continue
                    *head, tails[node][name] = row
                    if head:
                        (heads[source][name],) = head
                    else:
                        self.direct[source].append(name)
        how: dict[str, Any] = {"dense": dense, "multiple": multiple, "fused": fused}
        self.heads = nn.ModuleList(_grouped(edges, "outputs", **how) for edges in heads)
        self.tails = nn.ModuleList(_grouped(edges, "inputs", **how) for edges in tails)

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
    edges: Mapping[str, list[nn.Module]], join: Join, *, dense: Dense, multiple: int, fused: bool
) -> nn.ModuleList:
    """Return heads ("outputs") or tails ("inputs") for edges' stages, joined where possible."""
    kind, relu = (Head if join == "outputs" else Tail), join == "outputs"
    alike: dict[Any, dict[str, list[Chain]]] = defaultdict(dict)
    for name, stage in edges.items():
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


def _alone(row_chains: list[Chain], *, multiple: int, relu: bool, fused: bool) -> nn.Module:
    """Return one edge's convolutions; where they are fused, perhaps with the ReLU behind them."""
    row = _convolutions(row_chains, multiple=multiple)
    if not (fused and len(row) == 2):
        return row
    depthwise, pointwise = cast(Iterable[FoldedConv], row)
    return FusedSeparable(depthwise, pointwise, relu=relu)


def _side_by_side(alike: Sequence[Chain], multiple: int, join: Join) -> FoldedConv:
    return FoldedConv(*alike, join=join, zeros=_zeros(alike[0], multiple))


def _convolutions(row: Iterable[Chain], *, multiple: int, parts: int = 1) -> nn.Sequential:
    """Return a row of convolutions, the first of which reads parts as in `_zeros`."""
    return nn.Sequential(
        *(
            FoldedConv(chain, zeros=_zeros(chain, multiple, 1 if at else parts))
            for at, chain in enumerate(row)
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


def _linear(row: list[list[nn.Module]]) -> bool:
    known = (nn.Conv2d, nn.BatchNorm2d, FactorizedReduce)
    return all(isinstance(layer, known) for stage in row for layer in stage)


def _fold_denoise(block: Denoise) -> Denoise:
    folded = copy.deepcopy(block)
    for name in ("theta", "phi"):
        setattr(folded, name, FoldedConv(Chain((getattr(block, name),))))
    folded.conv, folded.bn = FoldedConv(Chain((block.conv, block.bn))), nn.Identity()
    return folded
