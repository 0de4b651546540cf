"""What there is: architectures, their weights, and where these lie."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import replace
from pathlib import Path

from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.zoo.architectures import ARCHITECTURES, Architecture, unknown_model
from robnet_zoo.zoo.blueprints import DEFAULTS, blueprint
from robnet_zoo.zoo.hub import cached, fetch, fetch_pinned, pins
from robnet_zoo.zoo.weights import NATURAL, Weights, installed_weights, read_weights

TAG_ORDER = ("cifar10", "cifar10-small", "cifar10-mini", "digits")
SIZE = ("channels", "layers", "stem")  # what makes weights those of the published size


def register_architecture(architecture: Architecture) -> None:
    """Enter an architecture of your own under its name, for this process.

    Everything then takes it like those of the zoo. It is built once, without storage, so that a
    mistake shows here; its parameters are counted on the way.

    Raises:
        ZooError: the name is taken or has characters that names of weights and sources need, the
            row has both a genotype and a builder or neither, or it cannot be built.
    """
    import torch

    from robnet_zoo.models.count import count_parameters

    name = architecture.name
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ZooError(f"'{name}' cannot name an architecture; use letters, digits, _ and -.")
    if name in ARCHITECTURES:
        raise ZooError(f"There is an architecture '{name}' already; choose another name.")
    if (architecture.genotype is None) == (architecture.builder is None):
        raise ZooError(f"'{name}' needs a genotype or a builder, and not both.")
    ARCHITECTURES[name] = architecture
    try:
        with torch.device("meta"):
            parameters = count_parameters(blueprint(name).build())
    except BaseException:
        del ARCHITECTURES[name]
        raise
    ARCHITECTURES[name] = replace(architecture, parameters=parameters)


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Return the architectures whose names match a pattern such as "robnet*".

    With `pretrained`, return "architecture.tag" for every set of weights instead.
    """
    names = list(ARCHITECTURES)
    if pretrained:
        names = [f"{name}.{tag}" for name in ARCHITECTURES for tag in tags(name)]
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]


def tags(architecture: str) -> list[str]:
    """Return the tags of the architecture's weights, on this machine or published."""
    names = (name.partition(".") for name in {**installed_weights(), **pins()})
    known = sorted(tag for name, _, tag in names if name == architecture)
    return [tag for tag in TAG_ORDER if tag in known] + [
        tag for tag in known if tag not in TAG_ORDER
    ]


def default_tag(architecture: str) -> str | None:
    """Return the tag that `pretrained=True` takes, or None where there are no weights."""
    return next(iter(ranked_tags(architecture)), None)


def ranked_tags(architecture: str) -> list[str]:
    """Return the tags of the architecture's weights, the default first.

    What is on this machine comes before what would have to be fetched, networks that were trained
    adversarially before their natural twins, the published size before others, and what is left
    goes by `TAG_ORDER`.

    Raises:
        ZooError: a config.json of the architecture's weights is damaged.
    """
    return sorted(tags(architecture), key=lambda tag: _rank(architecture, tag))


def _rank(architecture: str, tag: str) -> tuple[bool, bool, bool]:
    weights = local_weights(f"{architecture}.{tag}")
    if weights is None:
        return True, False, False
    return False, weights.naturally_trained, not has_published_size(architecture, weights)


def has_published_size(architecture: str, weights: Weights) -> bool:
    """Return whether an architecture's weights are of its paper's width and depth."""
    published = {**DEFAULTS, **ARCHITECTURES[architecture].arguments}
    own = {**DEFAULTS, **weights.arguments}
    return all(own.get(key) == published.get(key) for key in SIZE)


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
        raise unknown_model(name if "/" in name else architecture)
    if dot and weights not in (None, tag):
        raise ZooError(f"'{name}' already names its weights, and '{weights}' are others.")
    if weights is not None and os.sep in weights:
        own = read_weights(Path(weights))
        if own.architecture != architecture:
            raise ZooError(f"'{weights}' holds {own.architecture}, not {architecture}.")
        return own
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


def find_weights(name: str) -> Weights:
    """Return what `get_weights` returns; `name` may also be the path of a weights folder.

    Raises:
        ZooError: there are no such weights.
    """
    folder = name not in ARCHITECTURES and Path(name).is_dir()
    return get_weights(f"local-dir:{name}" if folder else name)


def local_weights(name: str) -> Weights | None:
    """Return the metadata of "architecture.tag" to show; None if only the Hub has it."""
    folder = at_hand(name)
    return None if folder is None else read_weights(folder)


def natural_twin(weights: Weights) -> Weights | None:
    """Return the same network trained without adversarial images; None if it is not at hand."""
    folder = installed_weights().get(f"{weights.name}{NATURAL}")
    twin = None if folder is None else read_weights(folder)
    same = ("architecture", "arguments", "genotype", "dataset", "image_size")
    if twin is None or any(getattr(twin, key) != getattr(weights, key) for key in same):
        return None
    return twin if twin.naturally_trained else None


def at_hand(name: str) -> Path | None:
    """Return the folder of "architecture.tag" on this machine; None if only the Hub has it."""
    return installed_weights().get(name) or cached(pins()[name])


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
