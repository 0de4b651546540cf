"""What a network is built from: an architecture's row or genotype file, and its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.genotypes import (
    CellGenotype,
    Genotype,
    genotype_to_dict,
    read_genotype,
)
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.zoo.architectures import ARCHITECTURES, get_architecture
from robnet_zoo.zoo.weights import Weights

if TYPE_CHECKING:
    from torch import nn

SIZES = ("num_classes", "in_channels", "channels", "layers", "image_size")
SWITCHES = ("auxiliary", "denoise")
STEMS = ("cifar", "imagenet")
# far above any sensible network: a typing error, or a config.json from outside, must not eat the
# memory, or minutes
SIZE_LIMIT, LAYER_LIMIT = 4096, 256
DEFAULTS = {"in_channels": 3, "stem": "cifar", "denoise": False, "auxiliary": False}


@dataclass(frozen=True)
class Blueprint:
    """All that is needed to build a network.

    `architecture` is "cells" where the network comes from a genotype file; `genotype` is None
    for human-designed networks.
    """

    architecture: str
    genotype: Genotype | None
    arguments: Mapping[str, Any]

    @property
    def status(self) -> str:
        """Where the genotype comes from: "published", "reconstructed", "searched here"..."""
        return self.genotype.status if self.genotype else "human-designed"

    def build(self) -> nn.Module:
        """Return the network with random weights, drawn from torch's global generator."""
        if self.genotype is None:
            return self._builder(**self.arguments)
        from robnet_zoo.models.networks import build_network

        return build_network(self.genotype, **self.arguments)

    @property
    def accepted(self) -> tuple[str, ...]:
        """The names that arguments may have."""
        if self.genotype is None:
            return tuple(inspect.signature(self._builder).parameters)
        return (*SIZES, *SWITCHES, "stem")

    @property
    def _builder(self) -> Callable[..., nn.Module]:
        builder = get_architecture(self.architecture).builder
        assert builder is not None  # what has no genotype has one
        return builder

    def config(self) -> dict[str, Any]:
        """Return this as the entries of a weights folder's config.json."""
        return {
            "architecture": self.architecture,
            "arguments": dict(self.arguments),
            "genotype": genotype_to_dict(self.genotype) if self.genotype else None,
            "genotype_status": self.status,
        }


def blueprint(name: str, **overrides: Any) -> Blueprint:
    """Return how to build an architecture ("racl") or a genotype file ("cells:genotype.json").

    Args:
        name: an architecture of the zoo, or "cells:" and the path of a genotype file.
        overrides: channels, layers, num_classes, in_channels, stem, denoise, and auxiliary with
            image_size.

    Raises:
        ZooError: unknown name or override, or a value that cannot be built.
    """
    scheme, colon, path = name.partition(":")
    if colon and scheme == "cells":
        own = read_genotype(Path(path))
        three_cells = isinstance(own, CellGenotype) and "accurate" in own.cells
        defaults = {"channels": 64 if three_cells else 36, "layers": 20, "num_classes": 10}
        return _validated(Blueprint("cells", own, defaults | overrides))
    known = get_architecture(name)
    return _validated(Blueprint(name, known.read_genotype(), dict(known.arguments) | overrides))


def _validated(design: Blueprint) -> Blueprint:
    validate_arguments(design, design.arguments)
    return design


def validate_arguments(design: Blueprint, arguments: Mapping[str, Any]) -> None:
    """Raise ZooError unless each argument has a known name and a sensible value."""
    for key, value in arguments.items():
        if key not in design.accepted:
            raise unknown_name(f"argument of {design.architecture}", key, design.accepted)
        limit = LAYER_LIMIT if key == "layers" else SIZE_LIMIT
        if key in SIZES and (type(value) is not int or not 1 <= value <= limit):
            raise ZooError(f"{key} must be a whole number from 1 to {limit}, not {value!r}.")
        if key in SWITCHES and type(value) is not bool:
            raise ZooError(f"{key} must be True or False, not {value!r}.")
        if key == "stem" and value not in STEMS:
            raise ZooError(f"stem must be 'cifar' or 'imagenet', not {value!r}.")


def blueprint_of(weights: Weights) -> Blueprint:
    """Return the blueprint that a weights folder describes.

    Raises:
        ZooError: its genotype is not the one of the architecture that it names.
    """
    genotype = weights.genotype
    known = ARCHITECTURES.get(weights.architecture)
    if known is None and genotype is None:
        raise unknown_name("architecture", weights.architecture, ARCHITECTURES)
    if known is not None:
        expected = known.read_genotype()
        if getattr(genotype, "cells", None) != getattr(expected, "cells", None):
            raise ZooError(
                f"'{weights.folder}' says it holds {weights.architecture}, but its genotype is "
                "another one; it is not used."
            )
    if genotype is not None and not {"channels", "layers"} <= weights.arguments.keys():
        raise ZooError(f"'{weights.folder}' does not say its network's channels and layers.")
    return _validated(Blueprint(weights.architecture, genotype, weights.arguments))
