"""A model by name, with the images and the threat model it is judged on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import Norm, ThreatModel, get_threat_model

if TYPE_CHECKING:
    from torch import nn

    from robnet_zoo.data import Dataset, Part
    from robnet_zoo.data.splits import Split
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.zoo.weights import Weights

BATCH_SIZE = 256  # images in a forward pass


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What a model is judged on, and how; None stands for what the weights know.

    Attributes:
        dataset: name of the data set, or arrays:FILE.npz.
        data: folder of the data sets; $ROBNET_ZOO_DATA if None.
        split: of the data set.
        threat_model: row of the table of threat models.
        eps: size of the perturbation, such as "8/255", in place of the threat model's.
        norm: in place of the threat model's.
        n: judge the first n images; all if None.
        batch_size: images in a forward pass.
        device: "cpu", "cuda", "cuda:N" or "auto".
        seed: of all randomness.
    """

    dataset: str | None = None
    data: Path | None = None
    split: Part = "test"
    threat_model: str | None = None
    eps: str | None = None
    norm: Norm | None = None
    n: int | None = None
    batch_size: int = BATCH_SIZE
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class EvalTarget:
    """A model with weights, and what it is judged on."""

    model: nn.Module
    dataset: Dataset
    split: Split
    threat_model: ThreatModel
    metadata: RunMetadata


def load_target(weights: Weights | str, options: EvalOptions) -> EvalTarget:
    """Return a model on its device, its images and its threat model, as the options ask.

    Args:
        weights: what `get_weights` returned, or a name that it takes, such as "racl.digits".
        options: those left out are what the weights were trained for.

    Raises:
        ZooError: unknown names, weights or data that are not there, a data set that the weights
            do not fit, or options that do not go together.
    """
    from robnet_zoo.data import dataset_info, load_split
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.zoo import get_weights
    from robnet_zoo.zoo.load import load

    known = get_weights(weights) if isinstance(weights, str) else weights
    device = _device(options.device)
    wanted = options.dataset or known.dataset
    _validate_fit(known, dataset_info(wanted, options.threat_model))  # before any download
    dataset, split = load_split(
        wanted, options.split, root=options.data, threat_model=options.threat_model
    )
    return EvalTarget(
        model=load(known).to(device),
        dataset=dataset,
        split=split,
        threat_model=_threat_model(options, known, dataset),
        metadata=RunMetadata.of_weights(known, dataset, options.split),
    )


def _threat_model(options: EvalOptions, weights: Weights, dataset: Dataset) -> ThreatModel:
    """Return the row asked for, the one the weights were trained for, or the data set's."""
    base = dataset.threat_model
    if options.threat_model is None and dataset.name == weights.dataset:
        trained = weights.threat_model
        base = get_threat_model(trained["name"])
        if (trained["norm"], str(trained["epsilon"])) != (base.norm, base.epsilon.text):
            base = base.at(trained["epsilon"], trained["norm"])
    norm = options.norm or base.norm
    if norm != base.norm and options.eps is None:
        raise ZooError(
            f"--norm {norm} needs --eps: epsilon {base.epsilon.text} of threat model "
            f"{base.name} is a size in {base.norm}."
        )
    return base if options.eps is None else base.at(options.eps, norm)


def _validate_fit(weights: Weights, dataset: Dataset) -> None:
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
