"""What is asked of a training run: the model, the data, the recipe and how to compute."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from robnet_zoo.runtime.decode import PositiveCount, read_json
from robnet_zoo.runtime.environment import Compile
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json
from robnet_zoo.runtime.settings import check_settings, settings_from
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.recipes import Recipe

SETTINGS = "settings.json"
SMALLEST_BATCH, STEPS_PER_EPOCH = 16, 30  # small data sets get small batches: steps are what counts

Form = Literal["separable", "dense", "fused"]  # as in models/folded.py, which imports torch
SeparableMode = Literal["apart", "merged", "fused"]  # as in models/operations.py
Precision = Literal["float32", "bfloat16"]
Layout = Literal["channels_last", "contiguous"]
# change how fast a run is, not what it is: a resumed one may
SPEED_SETTINGS = ("grouped", "separable", "folded_form", "cuda_graph")
CUDA_GRAPHS = ("reduce-overhead", "max-autotune")  # the modes that replay recorded kernels


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that fixes a run's result; resuming with another value of any of these is refused.

    Attributes:
        model: architecture name or "cells:FILE.json".
        dataset: data set name or "arrays:FILE.npz".
        recipe: the recipe, with overrides applied.
        batch_size: images a step over all processes; None for the recipe's, or fewer where the
            data set is small.
        channels: the network's width; None for the architecture's own.
        layers: its number of cells; None for the architecture's own.
        seed: of the initial weights, the order of the images and all noise.
        threat_model: row of the table of threat models; None for the data set's own.
        epsilon: size of the perturbation, such as "8/255"; None for the threat model's own.
        precision: what convolutions compute in; weights and losses are always float32.
        accumulate: parts that a batch is computed in, to save memory.
        joint_batch_norm: take batch statistics over all processes rather than within each.
        compile: mode of torch.compile that the network is run through; None for none.
        layout: order of the images' and weights' values in memory.
        grouped: whether separable convolutions that read one state run as one in training; None
            for what suits the device.
        separable: how training computes a depthwise and a pointwise convolution; None for what
            suits the device.
        folded_form: form of the network that images are crafted on; None for what suits the device.
        cuda_graph: record the step as a CUDA graph, on one GPU and without `compile`.
        time_budget: seconds that the schedule is fitted to; None trains the recipe's epochs.
        init: weights that training starts from, as `train.init` takes them; None for random ones.
        init_sha256: of their tensors; None for what they are when training starts.
    """

    model: str
    dataset: str
    recipe: Recipe
    batch_size: PositiveCount | None = None
    channels: int | None = None
    layers: int | None = None
    seed: int = 0
    threat_model: str | None = None
    epsilon: str | None = None
    precision: Precision = "float32"
    accumulate: PositiveCount = 1
    joint_batch_norm: bool = False
    compile: Compile | None = None
    layout: Layout = "channels_last"
    grouped: bool | None = None
    separable: SeparableMode | None = None
    folded_form: Form | None = None
    cuda_graph: bool = True
    time_budget: float | None = None
    init: str | None = None
    init_sha256: str | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        if self.compile in CUDA_GRAPHS and self.accumulate > 1:
            raise ZooError(
                f"--compile {self.compile} cannot add up the gradients of {self.accumulate} parts, "
                "which a CUDA graph overwrites; use --accumulate 1 or --compile default."
            )

    def model_arguments(self, auxiliary_for: int | None = None) -> dict[str, Any]:
        """Return what `create_model` is given besides the data set's classes and channels.

        Args:
            auxiliary_for: side of the images that an auxiliary head, where the recipe trains
                one, is built for; None leaves the head out.
        """
        arguments: dict[str, Any] = {"channels": self.channels, "layers": self.layers}
        if auxiliary_for and self.recipe.auxiliary:
            arguments |= {"auxiliary": True, "image_size": auxiliary_for}
        arguments["denoise"] = self.recipe.denoise
        return {name: value for name, value in arguments.items() if value}

    def threat(self, own: ThreatModel) -> ThreatModel:
        """Return the run's threat model, given the data set's row of the table."""
        return own.at(self.epsilon) if self.epsilon else own

    def fitted(self, images: int) -> Settings:
        """Return the settings with the batch size decided, for so many training images.

        A recipe's batch is meant for tens of thousands of images. Unless a size was asked for,
        the largest power of two that leaves 30 steps an epoch takes its place where it is less.
        """
        most = max(SMALLEST_BATCH, 1 << max(images // STEPS_PER_EPOCH, 1).bit_length() - 1)
        fits = self.recipe.batch_size <= max(images // STEPS_PER_EPOCH, SMALLEST_BATCH)
        size = self.batch_size or (self.recipe.batch_size if fits else most)
        recipe = dataclasses.replace(self.recipe, batch_size=size)
        return dataclasses.replace(self, batch_size=size, recipe=recipe)

    def as_dict(self) -> dict[str, Any]:
        """Return this as JSON-ready values; a run with random weights does not speak of `init`."""
        values = json.loads(json.dumps(dataclasses.asdict(self)))
        return {k: v for k, v in values.items() if not (k.startswith("init") and v is None)}


def write_settings(folder: Path, settings: Settings) -> None:
    """Write a run's settings into its folder."""
    write_json(folder / SETTINGS, settings.as_dict())


def read_settings(folder: Path) -> Settings:
    """Read a run's settings.

    Raises:
        ZooError: there is no run in the folder, or its settings are of another version.
    """
    path = folder / SETTINGS
    if not path.exists():
        raise ZooError(f"There is no run in '{folder}'; start one without --resume.")
    try:
        return settings_from_dict(read_json(path, dict[str, Any], "settings file"))
    except ZooError as error:
        raise ZooError(f"'{path}' is not readable by this version; start a new run.") from error


def settings_from_dict(values: Mapping[str, Any]) -> Settings:
    """Return the settings that `as_dict` wrote, read back from JSON.

    Raises:
        ZooError: they are of another version.
    """
    mode = values.get("compile")
    if isinstance(mode, bool):  # as written before the modes had names
        mode = "default" if mode else None
    recipe = settings_from(values.get("recipe", {}), Recipe, "run's recipe")
    values = {**values, "recipe": recipe, "compile": mode}
    return settings_from(values, Settings, "run's settings")


def validate_unchanged(kept: Settings, asked: Settings) -> None:
    """Raise ZooError if a resumed run is asked to change a setting; the first one is named."""
    old, new = (_flat(settings.as_dict()) for settings in (kept, asked))
    for name, value in new.items():
        if name not in SPEED_SETTINGS and old.get(name) != value:
            raise ZooError(
                f"This run has {name}={old.get(name)}, so it cannot be resumed with {value}; "
                "leave it out, or start a new run in another folder."
            )


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    recipe = {f"recipe {name}": value for name, value in values["recipe"].items()}
    return {name: value for name, value in values.items() if name != "recipe"} | recipe
