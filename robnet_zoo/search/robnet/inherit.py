"""A sub-network of the supernet as a network of its own, with the weights it had there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from robnet_zoo.genotypes import RobNetGenotype
from robnet_zoo.models.networks import STEM_MULTIPLE, Network, build_network
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.spaces import EDGES, ROBNET_OPERATIONS
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.robnet.codes import Codes, switches

# Where a network keeps the parts of an edge's operation, by its code: RobNet's own names.
PLACES = {"01": ("op.", ""), "10": ("", "op."), "11": ("op.conv.", "op.res.")}


def masks(supernet: Supernet, codes: Codes) -> dict[str, CellWeights]:
    """Return what the supernet takes to compute nothing but the operations of `codes`.

    Raises:
        ZooError: neither one code for a cell-based supernet, nor one for each cell of a free one.
    """
    roles = supernet.space.roles
    if len(codes) != len(roles):
        raise ZooError(f"{len(codes)} cell codes do not fit a supernet that takes {len(roles)}.")
    return {role: CellWeights(switches(code)) for role, code in zip(roles, codes, strict=True)}


def sizes(supernet: Supernet) -> dict[str, Any]:
    """Return the arguments that build a network of the supernet's size."""
    stem = cast(nn.Conv2d, supernet.stem[0])
    return {
        "channels": stem.out_channels // STEM_MULTIPLE,
        "layers": len(supernet.cells),
        "num_classes": supernet.classifier.out_features,
        "in_channels": stem.in_channels,
    }


def genotype_of(
    codes: Codes, name: str = "robnet", source: Mapping[str, Any] | str = ""
) -> RobNetGenotype:
    """Return the codes of a search as a genotype."""
    return RobNetGenotype(name, "searched here", source, codes)


def subnetwork(supernet: Supernet, codes: Codes) -> Network:
    """Return the network of `codes` with a copy of the supernet's weights.

    Its logits, and the gradients of its weights, are those of the supernet under `masks`, up to
    rounding. It stands on the supernet's device, in its mode.

    Raises:
        ZooError: the codes do not fit the supernet.
    """
    masks(supernet, codes)
    with torch.device("meta"):  # no weights are drawn, so nobody's random state moves
        network = build_network(genotype_of(codes), **sizes(supernet))
    network.load_state_dict(dict(_inherited(supernet, codes)), assign=True)
    return network.train(supernet.training)


def _inherited(supernet: Supernet, codes: Codes) -> Iterator[tuple[str, Tensor]]:
    """Yield copies of the tensors that `codes` keep, under the names they have in a network."""
    renamed = {
        f"cells.{cell}._ops.{edge}.operations.{index}.": f"cells.{cell}._ops.{edge}.{place}"
        for cell in range(len(supernet.cells))
        for edge in range(EDGES)
        for index, place in enumerate(_places(codes[cell % len(codes)][edge]))
        if place
    }
    for name, value in supernet.state_dict().items():
        start, separator, rest = name.partition(".operations.")
        if not separator:
            yield name, value.clone()
            continue
        prefix = f"{start}{separator}{rest[0]}."
        if prefix in renamed:
            yield renamed[prefix] + name.removeprefix(prefix), value.clone()


def _places(code: str) -> tuple[str, ...]:
    """Return where each of the supernet's operations goes; empty for one that is left out."""
    return PLACES.get(code, ("",) * len(ROBNET_OPERATIONS))
