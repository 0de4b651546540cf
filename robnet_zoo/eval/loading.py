"""A model by name, with the images and the threat model it is judged on, for the command lines."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel, get_threat_model

if TYPE_CHECKING:
    from torch import nn

    from robnet_zoo.data import Dataset
    from robnet_zoo.data.splits import Split
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.zoo.weights import Weights


def add_options(parser: ArgumentParser) -> None:
    """Add the options that `load` and every command that evaluates take."""
    add = parser.add_argument
    add("--dataset", help="data set, or arrays:FILE.npz (default: what the weights know)")
    add("--data", type=Path, help="folder of the data sets (default: $ROBNET_ZOO_DATA)")
    add("--split", default="test", help="train, validation or test (default: test)")
    add("--threat-model", help="row of the threat-model table (default: the weights' own)")
    add("--eps", help="size of the perturbation, such as 8/255, instead of the threat model's")
    add("--norm", choices=("Linf", "L2"), help="instead of the threat model's norm")
    add("--n", type=int, help="judge the first N images (default: all)")
    add("--batch-size", type=int, default=256, help="images in a forward pass (default: 256)")
    add("--device", default="auto", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--seed", type=int, default=0, help="of all randomness (default: 0)")


@dataclass(frozen=True, kw_only=True)
class EvalTarget:
    """A model with weights, and what it is judged on."""

    model: nn.Module
    dataset: Dataset
    split: Split
    threat_model: ThreatModel
    about: RunMetadata


def load(arguments: Namespace, name: str, weights: str | None = None) -> EvalTarget:
    """Return a model on its device, its images and its threat model, as the options ask.

    Raises:
        ZooError: unknown names, weights or data that are not there, a data set that the weights
            do not fit, or options that do not go together.
    """
    from robnet_zoo.data import describe, load_split
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.zoo.registry import create_model, get_weights

    known = get_weights(name, weights)
    device = _device(arguments.device)
    wanted = arguments.dataset or known.dataset
    _refuse_misfit(known, describe(wanted, arguments.threat_model))  # before any download
    dataset, split = load_split(
        wanted,
        arguments.split,
        root=arguments.data,
        threat_model=arguments.threat_model,
    )
    return EvalTarget(
        model=create_model(name, weights=weights, pretrained=True).to(device),
        dataset=dataset,
        split=split,
        threat_model=_threat_model(arguments, known, dataset),
        about=RunMetadata.of_weights(known, dataset, arguments.split),
    )


def _threat_model(arguments: Namespace, weights: Weights, dataset: Dataset) -> ThreatModel:
    """Return the row asked for, the one the weights were trained for, or the data set's."""
    base = dataset.threat_model
    if arguments.threat_model is None and dataset.name == weights.dataset:
        trained = weights.threat_model
        base = get_threat_model(trained["name"])
        if (trained["norm"], str(trained["epsilon"])) != (base.norm, base.epsilon.text):
            base = base.at(trained["epsilon"], trained["norm"])
    norm = arguments.norm or base.norm
    if norm != base.norm and arguments.eps is None:
        raise ZooError(
            f"--norm {norm} needs --eps: epsilon {base.epsilon.text} of threat model "
            f"{base.name} is a size in {base.norm}."
        )
    return base if arguments.eps is None else base.at(arguments.eps, norm)


def _refuse_misfit(weights: Weights, dataset: Dataset) -> None:
    takes = weights.arguments.get("in_channels", 3), weights.arguments.get("num_classes", 10)
    if takes != (dataset.in_channels, dataset.num_classes):
        raise ZooError(
            f"{weights.name} takes images of {takes[0]} channel(s) and knows {takes[1]} classes; "
            f"{dataset.name} has {dataset.in_channels} and {dataset.num_classes}: "
            f"use --dataset {weights.dataset}."
        )


def _device(name: str) -> str:
    """Return the device; of several GPUs, each process that torchrun starts takes its own."""
    device = pick_device(name)
    return (
        f"cuda:{os.environ['LOCAL_RANK']}"
        if device == "cuda" and "LOCAL_RANK" in os.environ
        else device
    )
