"""The settings that all searches share, and recipes as TOML files."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.files import write_text

NOT_NEGATIVE = ("lr_end", "momentum", "weight_decay", "clip", "attack_steps", "crop", "cutout")
FORMERLY = {"flows": "fsp_candidates"}  # names of settings in older files
HEADER = ("name", "claim", "source")  # what a recipe says of itself; no override may touch it


@dataclass(frozen=True, kw_only=True)
class SearchRecipe:
    """Settings of a search; an algorithm adds its own.

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
        step_share: crafting's step size as a share of epsilon.
        craft_mode: mode of the supernet, hence of batch norm, while crafting.
        crop: padding of the random crop as a share of the image's side.
        cutout: side of the blanked square as a share of the image's side; 0 for none.
        flip: flip half of the images, unless the data set's classes forbid it.
    """

    name: str
    claim: str
    source: str
    dataset: str = "cifar10"
    threat_model: str | None = None
    epsilon: str | None = None
    images: int | None = None
    seed: int = 0
    epochs: int
    batch_size: int
    channels: int
    layers: int
    lr: float
    lr_end: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    attack_steps: int = 7
    step_share: float = 0.25
    craft_mode: Literal["train", "eval"] = "train"
    crop: float = 0.125
    cutout: float = 0.0
    flip: bool = True

    def __post_init__(self) -> None:
        limits = {
            "1 or more": (("epochs", "batch_size", "channels", "images"), lambda value: value >= 1),
            "0 or more": (NOT_NEGATIVE, lambda value: value >= 0),
            "above 0": (("lr", "step_share"), lambda value: value > 0),
        }
        for allowed, (names, fits) in limits.items():
            for name in names:
                value = getattr(self, name)
                if value is not None and not (math.isfinite(value) and fits(value)):
                    raise ZooError(
                        f"Recipe setting {name}={value} is out of range; it must be {allowed}."
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
        ZooError: the file cannot be read, is not TOML, or has unknown or missing settings.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ZooError(f"Cannot read the recipe '{path}': {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ZooError(f"The recipe '{path}' is not TOML: {error}.") from error
    known = [field.name for field in dataclasses.fields(kind)]
    values = {FORMERLY.get(key, key): value for key, value in values.items()}
    for key in values:
        if key not in known:
            raise unknown_name(f"setting in '{path}':", key, known)
    read: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return kind(**read)
    except TypeError as error:
        raise ZooError(f"The recipe '{path}' is incomplete or wrong: {error}.") from error
