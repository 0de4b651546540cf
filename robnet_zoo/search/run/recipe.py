"""The settings that all searches share, and recipes as TOML files."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from robnet_zoo.runtime.decode import (
    Amount,
    BelowOne,
    Count,
    Fraction,
    PositiveAmount,
    PositiveCount,
    read_toml,
)
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.settings import check_settings, settings_from

FORMERLY = {"flows": "fsp_candidates"}  # names of settings in older files
Width = Annotated[int, Meta(ge=1, le=4096)]
Layers = Annotated[int, Meta(ge=3, le=1000)]  # a third of them for each width
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]  # what torch's generators take
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
        ZooError: a value of the wrong type or out of range, or two that contradict each other.
    """

    name: str
    claim: str
    source: str
    dataset: str = "cifar10"
    threat_model: str | None = None
    epsilon: str | None = None
    images: PositiveCount | None = None
    seed: Seed = 0
    epochs: PositiveCount
    batch_size: PositiveCount
    channels: Width
    layers: Layers
    lr: PositiveAmount
    lr_end: Amount = 0.0
    momentum: BelowOne = 0.9
    weight_decay: Amount = 3e-4
    clip: Amount = 5.0
    attack_steps: Count = 7
    step_share: PositiveAmount = 0.25
    craft_mode: Literal["train", "eval"] = "train"
    crop: Fraction = 0.125
    cutout: BelowOne = 0.0
    flip: bool = True

    def __post_init__(self) -> None:
        check_settings(self, "Recipe setting ")
        if self.lr_end > self.lr:
            raise ZooError(
                f"lr_end={self.lr_end} is above lr={self.lr}, and the learning rate falls from lr "
                "to lr_end; set lr_end lower."
            )

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
