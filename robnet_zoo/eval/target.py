"""A model by name, with the images and the threat model it is judged on."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.data import ARRAYS
from robnet_zoo.eval.external import ExternalModel, LoadedModel, is_external, load_external
from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import Norm, ThreatModel

if TYPE_CHECKING:
    from torch import nn

    from robnet_zoo.data import Dataset, Part
    from robnet_zoo.data.splits import Split
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.zoo.weights import Weights

BATCH_SIZE = 256  # images in a forward pass


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What a model is judged on, and how; None stands for what weights of the zoo know.

    Attributes:
        dataset: name of the data set, or arrays:FILE.npz.
        data: folder of the data sets; $ROBNET_ZOO_DATA if None.
        split: of the data set.
        threat_model: row of the table of threat models.
        eps: size of the perturbation, such as "8/255", in place of the threat model's.
        norm: in place of the threat model's.
        mean, std: of the channels, as `parse_normalisation` takes them, put inside a model that
            is not the zoo's.
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
    mean: str | None = None
    std: str | None = None
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


def find_model(name: str, weights: str | None = None) -> Weights | ExternalModel:
    """Return what a name stands for, unloaded.

    An architecture's name stands for its default weights; a `PretrainedWarning` says so where they
    are not of the published size and data, as `create_model` does.

    Args:
        name: what `get_weights` takes, such as "racl.digits", or "FILE.py:NAME", "timm:NAME" or
            "torchvision:NAME".
        weights: a tag or folder of the zoo's weights, or a file with the state dict of another
            model.

    Raises:
        ZooError: there are no such weights.
    """
    if is_external(name):
        return ExternalModel(spec=name, weights=weights)
    from robnet_zoo.zoo import get_weights
    from robnet_zoo.zoo.architectures import ARCHITECTURES
    from robnet_zoo.zoo.notices import describe_default, notice

    chosen = get_weights(name, weights)
    if name in ARCHITECTURES and weights is None and (text := describe_default(name, chosen)):
        notice(text, stacklevel=1)
    return chosen


def load_model_spec(
    spec: str,
    *,
    weights: str | None = None,
    dataset: Dataset | None = None,
    mean: str | None = None,
    std: str | None = None,
) -> LoadedModel:
    """Load a model by name, in eval mode, on the CPU; see `find_model` for the names.

    Args:
        spec: the name.
        weights: its weights, or a file of them.
        dataset: what it is to be judged on.
        mean: of each channel, as `parse_normalisation` takes it, put inside a model that is not
            the zoo's.
        std: likewise.

    Raises:
        ZooError: no such model or weights, or they do not fit.
    """
    return _load(find_model(spec, weights), dataset, mean, std)


def load_target(model: Weights | ExternalModel | str, options: EvalOptions) -> EvalTarget:
    """Return a model on its device, its images and its threat model, as the options ask.

    Args:
        model: what `find_model` returned, or a name that it takes, such as "racl.digits".
        options: those left out are what the zoo's weights were trained for.

    Raises:
        ZooError: unknown names, weights or data that are not there, a data set that the weights
            do not fit, or options that do not go together.
    """
    from robnet_zoo.data import dataset_info, load_split

    known = find_model(model) if isinstance(model, str) else model
    device = _device(options.device)
    wanted = options.dataset
    if isinstance(known, ExternalModel):
        if wanted is None:
            raise ZooError(
                f"{known.name} does not know what it was trained for; name a data set or a file "
                "of images: --dataset cifar10, --dataset arrays:FILE.npz."
            )
    else:
        wanted = wanted or known.dataset
    row = _row(options, wanted)
    if not isinstance(known, ExternalModel):
        _validate_fit(known, dataset_info(wanted, row))  # before any download
    dataset, split = load_split(wanted, options.split, root=options.data, threat_model=row)
    loaded = _load(known, dataset, options.mean, options.std)
    return EvalTarget(
        model=loaded.model.to(device),
        dataset=dataset,
        split=split,
        threat_model=_threat_model(options, known, dataset),
        metadata=replace(
            loaded.metadata,
            data=dataset.name,
            split=options.split,
            class_names=dataset.class_names,
        ),
    )


def _load(
    known: Weights | ExternalModel, dataset: Dataset | None, mean: str | None, std: str | None
) -> LoadedModel:
    if isinstance(known, ExternalModel):
        return load_external(known, dataset, mean=mean, std=std)
    from robnet_zoo.data import dataset_info
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.zoo.load import load

    if mean is not None or std is not None:
        raise ZooError(
            f"{known.name} takes pixels in [0,1] as they are; leave out --mean and --std."
        )
    dataset = dataset or dataset_info(known.dataset)
    return LoadedModel(model=load(known), metadata=RunMetadata.of_weights(known, dataset, ""))


def _row(options: EvalOptions, dataset: str) -> str | ThreatModel | None:
    """Return the row asked for; for a user's own images, `--norm` and `--eps` make one."""
    if options.threat_model or not dataset.startswith(ARRAYS):
        return options.threat_model
    if options.norm is None or options.eps is None:
        return None
    return ThreatModel.of(options.norm, options.eps)


def _threat_model(
    options: EvalOptions, model: Weights | ExternalModel, dataset: Dataset
) -> ThreatModel:
    """Return the row asked for, the one the weights were trained for, or the data set's."""
    base = dataset.threat_model
    if (
        options.threat_model is None
        and not isinstance(model, ExternalModel)
        and dataset.name == model.dataset
    ):
        base = model.trained_against
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
    if device != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    from robnet_zoo.runtime.distributed import own_device

    return own_device()
