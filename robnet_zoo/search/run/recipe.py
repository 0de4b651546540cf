"""The settings that all searches share, and recipes as TOML files."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from robnet_zoo.runtime.decode import (
    Amount,
    Count,
    PositiveAmount,
    PositiveCount,
    read_toml,
)
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.settings import check_settings, settings_from

FORMERLY = {"flows": "fsp_candidates"}  # names of settings in older files
HEADER = ("name", "claim", "source")  # what a recipe says of itself; no override may touch it


@dataclass(frozen=True, kw_only=True)
class SearchRecipe:
    """Settings of a search; an algorithm adds its own. Annotations give their ranges.

    Attributes:
        name: what `--recipe` calls it.
        claim: what the recipe is for, and what it costs.
        source: where the settings come from.
        dataset: data set name or "arrays:FILE.npz".
        threat_model: row of the table of threat models; None for the data set's own.
        epsilon: size of the perturbation, such as "8/255"; None for the threat model's own.
        images: use so many images of the training part only; None for all.
        seed: of weights, order, noise and samples.
        epochs: passes over the images that train the weights.
        batch_size: images a step, over all processes.
        channels: width of the supernet's first cells.
        layers: number of its cells.
        lr: learning rate of the weights at the start; it falls in a cosine, epoch by epoch.
        lr_end: learning rate that the cosine ends at.
        momentum: of the weights' SGD.
        weight_decay: of the weights' SGD.
        clip: largest gradient norm of the weights; 0 for no clipping.
        attack_steps: gradients that crafting takes; 0 searches on clean images.
        step_share: crafting's step size as a fraction of epsilon.
        craft_mode: mode of the supernet, hence of batch norm, while crafting.
        crop: padding of the random crop as a fraction of the image's side.
        cutout: side of the blanked square as a fraction of the image's side; 0 for none.
        flip: flip half of the images, unless the data set's classes forbid it.

    Raises:
        ZooError: a value of the wrong type or out of range.
    """

    name: str
    claim: str
    source: str
    dataset: str = "cifar10"
    threat_model: str | None = None
    epsilon: str | None = None
    images: PositiveCount | None = None
    seed: int = 0
    epochs: PositiveCount
    batch_size: PositiveCount
    channels: PositiveCount
    layers: int
    lr: PositiveAmount
    lr_end: Amount = 0.0
    momentum: Amount = 0.9
    weight_decay: Amount = 3e-4
    clip: Amount = 5.0
    attack_steps: Count = 7
    step_share: PositiveAmount = 0.25
    craft_mode: Literal["train", "eval"] = "train"
    crop: Amount = 0.125
    cutout: Amount = 0.0
    flip: bool = True

    def __post_init__(self) -> None:
        check_settings(self, "Recipe setting ")

    def rate(self, epoch: int) -> float:
        """Return the weights' learning rate in an epoch: half a cosine from `lr` to `lr_end`."""
        fallen = (1 - math.cos(math.pi * epoch / self.epochs)) / 2
        return self.lr + (self.lr_end - self.lr) * fallen


AnyRecipe = TypeVar("AnyRecipe", bound=SearchRecipe)


def write_recipe(path: Path, recipe: SearchRecipe) -> None:
    """Write a recipe as TOML, atomically; settings that are None are left out."""
    lines = []
    for key, value in dataclasses.asdict(recipe).items():
        if value is not None:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    write_text(path, "\n".join(lines) + "\n")


def read_recipe(path: Path, kind: type[AnyRecipe]) -> AnyRecipe:
    """Read a recipe of an algorithm from TOML.

    Raises:
        ZooError: the file cannot be read, is not TOML, or has unknown, missing or wrong settings.
    """
    settings = read_toml(path, dict[str, Any], "recipe")
    return recipe_of(settings, kind, f"recipe '{path}'")


def recipe_of(settings: Mapping[str, Any], kind: type[AnyRecipe], what: str) -> AnyRecipe:
    """Return the recipe of settings by name, which may be older names.

    Args:
        settings: as written by this version or an older one.
        kind: the recipe's type.
        what: what errors call the settings.

    Raises:
        ZooError: unknown, missing or wrong settings.
    """
    return settings_from(present_names(settings), kind, what)


def present_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under the names that they have now."""
    return {FORMERLY.get(key, key): value for key, value in settings.items()}
