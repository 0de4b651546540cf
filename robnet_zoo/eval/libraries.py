"""Networks of timm and torchvision: with their pretrained weights, or built for a state dict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from robnet_zoo.data import Dataset
from robnet_zoo.eval.normalisation import Normalisation
from robnet_zoo.runtime.errors import ZooError, cause, unknown_name

INSTALLS = {"timm": "timm", "torchvision": '"robnet-zoo[vision]"'}


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """A network of a library.

    Attributes:
        arguments: what it was built with, for the record.
        normalisation: of the images that its pretrained weights were trained on.
    """

    network: nn.Module
    arguments: dict[str, Any]
    normalisation: Normalisation | None = None


def pretrained(library: str, name: str, tag: str | None, dataset: Dataset | None) -> Built:
    """Return a network with the library's pretrained weights, downloaded where they are not here.

    Args:
        library: "timm" or "torchvision".
        name: of the network.
        tag: of torchvision's weights, its default ones if None; names of timm hold their tag.
        dataset: what it is to be judged on, whose classes it must know.

    Raises:
        ZooError: an unknown name or tag, no way to the weights, or weights for other images.
    """
    spec = f"{library}:{name}"
    with _explained(spec):
        built = _pretrained_timm(name, tag) if library == "timm" else _pretrained_tv(name, tag)
    classes = built.arguments["num_classes"]
    if dataset is not None and dataset.num_classes != classes:
        raise ZooError(
            f"The pretrained weights of {spec} know {classes} classes and {dataset.name} has "
            f"{dataset.num_classes}; give a network trained on it: --weights FILE.safetensors."
        )
    _validate_colour(spec, dataset)
    return built


def untrained(library: str, name: str, dataset: Dataset | None) -> Built:
    """Return a network that a state dict is to be loaded into, for the classes of the data set.

    Raises:
        ZooError: an unknown name, or a network that does not take such images.
    """
    spec = f"{library}:{name}"
    arguments = {} if dataset is None else {"num_classes": dataset.num_classes}
    with _explained(spec):
        if library == "timm":
            if dataset is not None:
                arguments["in_chans"] = dataset.in_channels
            timm = _timm(name)
            return Built(network=timm.create_model(name, **arguments), arguments=arguments)
        _validate_colour(spec, dataset)
        models = _torchvision(name)
        return Built(network=models.get_model(name, **arguments), arguments=arguments)


def _pretrained_timm(name: str, tag: str | None) -> Built:
    timm = _timm(name)
    if tag is not None:
        raise ZooError(f"timm's weights are named with the network: timm:{name}.TAG, not '{tag}'.")
    network = timm.create_model(name, pretrained=True)
    known = network.pretrained_cfg
    return Built(
        network=network,
        arguments={"pretrained": known["tag"], "num_classes": network.num_classes},
        normalisation=(tuple(known["mean"]), tuple(known["std"])),
    )


def _pretrained_tv(name: str, tag: str | None) -> Built:
    models = _torchvision(name)
    kinds = models.get_model_weights(name)
    if tag is not None and tag not in kinds.__members__:
        raise unknown_name(f"weights of torchvision:{name}", tag, kinds.__members__)
    chosen = kinds.DEFAULT if tag is None else kinds[tag]
    usual = chosen.transforms()
    return Built(
        network=models.get_model(name, weights=chosen),
        arguments={"pretrained": chosen.name, "num_classes": len(chosen.meta["categories"])},
        normalisation=(tuple(usual.mean), tuple(usual.std)),
    )


def _timm(name: str) -> Any:
    import timm

    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise unknown_name("network of timm:", architecture, timm.list_models())
    return timm


def _torchvision(name: str) -> Any:
    from torchvision import models

    known = models.list_models(models)
    if name not in known:
        raise unknown_name("network of torchvision:", name, known)
    return models


@contextmanager
def _explained(spec: str) -> Iterator[None]:
    """Turn what a library raises into one sentence."""
    library, _, name = spec.partition(":")
    try:
        yield
    except ImportError as error:
        raise ZooError(
            f"'{spec}' needs {library}; run: pip install {INSTALLS[library]}."
        ) from error
    except OSError as error:  # of the Hub's client, and of urllib
        raise ZooError(
            f"Cannot fetch the pretrained weights of {spec} ({cause(error)}); connect to the "
            "internet once, or give a file with its state dict: --weights FILE.safetensors."
        ) from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise ZooError(f"{library} cannot build '{name}': {cause(error)}.") from error


def _validate_colour(spec: str, dataset: Dataset | None) -> None:
    if dataset is not None and dataset.in_channels != 3:
        raise ZooError(
            f"{spec} takes images of 3 channels and {dataset.name} has {dataset.in_channels}; "
            "build the network in a file of your own: --model FILE.py:NAME."
        )
