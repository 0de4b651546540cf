"""Names to models: what a name stands for, how it is built, and which weights go into it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.genotypes import (
    CellGenotype,
    Genotype,
    genotype_from_dict,
    genotype_to_dict,
    published,
    read_genotype,
)
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.hub import cached, fetch, fetch_pinned, pins
from robnet_zoo.zoo.weights import (
    Weights,
    installed_weights,
    read_weights,
    stored_state,
    verify_logits,
)

if TYPE_CHECKING:
    from robnet_zoo.zoo.mixin import HubModel

SIZES = ("num_classes", "in_channels", "channels", "layers", "image_size")
SWITCHES = ("auxiliary", "denoise")
STEMS = ("cifar", "imagenet")
# far above any sensible network: a typing error, or a config.json from outside, must not eat the
# memory, or minutes
SIZE_LIMIT, LAYER_LIMIT = 4096, 256
DEFAULTS = {"in_channels": 3, "stem": "cifar", "denoise": False, "auxiliary": False}
TAG_ORDER = ("cifar10", "digits")  # the full-size weights of an architecture come first


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

    def build(self) -> HubModel:
        """Return the network with random weights, drawn from torch's global generator."""
        from robnet_zoo.models import build_baseline, build_network

        model: HubModel = (
            build_baseline(self.architecture, **self.arguments)
            if self.genotype is None
            else build_network(self.genotype, **self.arguments)
        )
        model.config = self.config()
        return model

    def config(self) -> dict[str, Any]:
        """Return this as the entries of a weights folder's config.json."""
        return {
            "architecture": self.architecture,
            "arguments": dict(self.arguments),
            "genotype": genotype_to_dict(self.genotype) if self.genotype else None,
            "genotype_status": self.status,
        }


def plan(name: str, **overrides: Any) -> Blueprint:
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
        genotype = read_genotype(Path(path))
        three_cells = isinstance(genotype, CellGenotype) and "accurate" in genotype.cells
        defaults = {"channels": 64 if three_cells else 36, "layers": 20, "num_classes": 10}
        return _checked(Blueprint("cells", genotype, defaults | overrides))
    if name not in ARCHITECTURES:
        raise _unknown_model(name)
    known = ARCHITECTURES[name]
    found = published(known.genotype) if known.genotype else None
    return _checked(Blueprint(name, found, dict(known.arguments) | overrides))


def _checked(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint if every argument has a known name and a sensible value."""
    searched = blueprint.genotype is not None
    accepted = (*SIZES, *SWITCHES, "stem") if searched else (*SIZES[:3], "denoise")
    for key, value in blueprint.arguments.items():
        if key not in accepted:
            raise unknown_name(f"argument of {blueprint.architecture}", key, accepted)
        limit = LAYER_LIMIT if key == "layers" else SIZE_LIMIT
        if key in SIZES and (type(value) is not int or not 1 <= value <= limit):
            raise ZooError(f"{key} must be a whole number from 1 to {limit}, not {value!r}.")
        if key in SWITCHES and type(value) is not bool:
            raise ZooError(f"{key} must be True or False, not {value!r}.")
        if key == "stem" and value not in STEMS:
            raise ZooError(f"stem must be 'cifar' or 'imagenet', not {value!r}.")
    return blueprint


def from_weights(weights: Weights) -> Blueprint:
    """Return the blueprint that a weights folder describes.

    Raises:
        ZooError: its genotype is not the one of the architecture that it names.
    """
    genotype = None if weights.genotype is None else genotype_from_dict(weights.genotype)
    known = ARCHITECTURES.get(weights.architecture)
    if known is None and genotype is None:
        raise unknown_name("architecture", weights.architecture, ARCHITECTURES)
    if known is not None:
        expected = published(known.genotype) if known.genotype else None
        if getattr(genotype, "cells", None) != getattr(expected, "cells", None):
            raise ZooError(
                f"'{weights.folder}' says it holds {weights.architecture}, but its genotype is "
                "another one; it is not used."
            )
    if genotype is not None and not {"channels", "layers"} <= weights.arguments.keys():
        raise ZooError(f"'{weights.folder}' does not say its network's channels and layers.")
    return _checked(Blueprint(weights.architecture, genotype, weights.arguments))


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Return the architectures whose names match a pattern such as "robnet*".

    With `pretrained`, return "architecture.tag" for every set of weights instead.
    """
    names = list(ARCHITECTURES)
    if pretrained:
        names = [f"{name}.{tag}" for name in ARCHITECTURES for tag in tags(name)]
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]


def tags(architecture: str) -> list[str]:
    """Return the tags of the architecture's weights, at hand or published, default first."""
    names = (name.partition(".") for name in {**installed_weights(), **pins()})
    found = sorted(tag for name, _, tag in names if name == architecture)
    return sorted(found, key=lambda tag: TAG_ORDER.index(tag) if tag in TAG_ORDER else len(found))


def default_tag(architecture: str) -> str | None:
    """Return the tag that `pretrained=True` takes, or None where there are no weights."""
    return next(iter(tags(architecture)), None)


def get_weights(name: str, weights: str | None = None) -> Weights:
    """Return the metadata of a set of weights, without reading the tensors.

    Args:
        name: "racl" (its default tag), "racl.digits", "local-dir:DIR" or "hf-hub:org/name".
        weights: a tag, or the path of a weights folder (with a separator, such as "./racl").

    Raises:
        ZooError: there are no such weights; what exists is named.
    """
    scheme, colon, place = name.partition(":")
    if colon:
        if weights is not None:
            raise ZooError(f"'{name}' takes no weights '{weights}'; leave them out.")
        return read_weights(_source(scheme, place, name))
    architecture, dot, tag = name.partition(".")
    if architecture not in ARCHITECTURES:
        raise _unknown_model(name if "/" in name else architecture)
    if dot and weights not in (None, tag):
        raise ZooError(f"'{name}' already names its weights, and '{weights}' are others.")
    if weights is not None and os.sep in weights:
        found = read_weights(Path(weights))
        if found.architecture != architecture:
            raise ZooError(f"'{weights}' holds {found.architecture}, not {architecture}.")
        return found
    wanted = tag or weights or default_tag(architecture)
    if wanted is None or not tags(architecture):
        raise ZooError(
            f"No weights of {architecture} are embedded, in a checkout's weights/ or published; "
            f"there are {', '.join(list_models(pretrained=True)) or 'none at all'}."
        )
    if wanted not in tags(architecture):
        raise unknown_name(f"weights of {architecture}", wanted, tags(architecture))
    folder = installed_weights().get(f"{architecture}.{wanted}")
    return read_weights(folder or _fetched(f"{architecture}.{wanted}"))


def weights_at_hand(name: str) -> Weights | None:
    """Return the metadata of "architecture.tag" to show; None if only the Hub has it."""
    folder = installed_weights().get(name) or cached(pins()[name])
    return None if folder is None else read_weights(folder)


def _fetched(name: str) -> Path:
    try:
        return fetch_pinned(pins()[name])
    except ZooError as error:
        raise ZooError(f"{name} is not embedded nor in a checkout's weights/. {error}") from error


def _source(scheme: str, place: str, name: str) -> Path:
    if scheme == "local-dir":
        return Path(place)
    if scheme == "hf-hub":
        return fetch(place)
    if scheme == "cells":
        raise ZooError(f"'{name}' is a genotype and has no weights; name a folder: local-dir:DIR.")
    raise unknown_name("source", f"{scheme}:", ("cells:", "local-dir:", "hf-hub:"))


def _unknown_model(name: str) -> ZooError:
    if "/" in name:
        return ZooError(f"Unknown model '{name}'; write hf-hub:{name} or local-dir:{name}.")
    return unknown_name("model", name, ARCHITECTURES)


def create_model(
    name: str,
    *,
    pretrained: bool = False,
    weights: str | None = None,
    verify: bool = False,
    **overrides: Any,
) -> HubModel:
    """Build a model: images (N, C, H, W) with pixels in [0,1] to logits (N, classes).

    Args:
        name: an architecture ("racl"), one with weights ("racl.digits"), a genotype file
            ("cells:genotype.json"), a weights folder ("local-dir:DIR") or a repository of the
            Hugging Face Hub ("hf-hub:org/name").
        pretrained: load the architecture's default weights.
        weights: load the weights of this tag ("digits") or folder ("./runs/racl").
        verify: compare the loaded model's logits on a fixed input with the stored ones.
        overrides: channels, layers, num_classes, in_channels, stem, denoise, and auxiliary with
            image_size. Weights fix all of them: one that differs is refused.

    Returns:
        The model: in eval mode with weights, in training mode with random ones.

    Raises:
        ZooError: unknown names or overrides, weights that are missing or damaged, or overrides
            that the weights do not fit.
    """
    scheme, colon, _ = name.partition(":")
    stored = pretrained or weights is not None or (scheme != "cells" if colon else "." in name)
    if not stored:
        if verify:
            raise ZooError(f"There is nothing to verify: '{name}' is built with random weights.")
        return plan(name, **overrides).build()
    return load(get_weights(name, weights), verify=verify, **overrides)


def load(weights: Weights, *, verify: bool = False, **overrides: Any) -> HubModel:
    """Build the model of a weights folder, in eval mode; `create_model` says the rest."""
    blueprint = from_weights(weights)
    _refuse_conflicts(weights, blueprint, overrides)
    model = _with_tensors(blueprint, weights)
    if verify:
        verify_logits(model, weights)
    return model


def _with_tensors(blueprint: Blueprint, weights: Weights) -> HubModel:
    """Return the network with its stored tensors, in eval mode.

    The tensors are held against a network without storage first, so that a config.json that
    asks for a gigantic network is refused before memory is.
    """
    import torch

    from robnet_zoo.zoo.tensors import read_tensors

    with torch.device("meta"):
        expected = stored_state(blueprint.build())
    tensors = read_tensors(weights, expected)
    model = blueprint.build()
    model.load_state_dict(tensors, strict=False)  # names were compared: only counters are left
    model.config = weights.config()
    return model.eval()


def _refuse_conflicts(weights: Weights, blueprint: Blueprint, overrides: Mapping[str, Any]) -> None:
    _checked(Blueprint(blueprint.architecture, blueprint.genotype, overrides))
    fixed = {**DEFAULTS, "image_size": weights.image_size, **weights.arguments}
    for key, value in overrides.items():
        stored = fixed.get(key, "its published value")
        if value != stored:
            raise ZooError(
                f"{weights.name} was trained with {key}={stored}, so it cannot be loaded with "
                f"{key}={value}; leave {key} out, or build without weights."
            )
