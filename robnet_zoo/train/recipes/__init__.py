"""The recipes: every setting of a training run that belongs to the method, with its source.

Each is a TOML file here, and a user's own is one like them. Learning rates are written for
batches of 128 images or fewer and grow in proportion above (the linear scaling rule); all the
papers' rates follow from 0.1. Step sizes are fractions of the threat model's epsilon, so that a
recipe means the same on every data set: a quarter is 2/255 of 8/255. Moments are fractions of the
whole training, so that `--epochs` stretches a recipe as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from robnet_zoo.runtime import options
from robnet_zoo.runtime.decode import Amount, PositiveAmount, PositiveCount, read_json, read_toml
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.settings import check_settings, settings_from

LR_BATCH = 128  # the batch size that learning rates are written for
HEADER = ("name", "claim", "cost", "source")  # which no override may touch
FILES = {".toml": read_toml, ".json": read_json}  # what a user's recipe is read by
BelowOne = Annotated[float, Meta(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training method; the annotations give their ranges.

    Attributes:
        name: what `--recipe` calls it.
        claim: what the recipe is for and what it is said to reach.
        cost: network passes a training image costs in an epoch, and the hardware known to do it.
        source: where the settings come from.
        epochs: passes over the training part.
        batch_size: images in an optimizer step, over all processes.
        loss: "natural", "pgd-at", "trades" or "mart" (`losses.py`).
        beta: weight of the KL term of TRADES and MART.
        label_smoothing: part of the target spread over all classes.
        auxiliary: weight of the auxiliary head's loss on the clean images; 0 builds no head.
        denoise: add feature denoising blocks (RobNet, Table 4) to the network.
        steps: gradients that crafting takes.
        step_share: crafting's step size as a fraction of epsilon.
        early_steps: gradients taken in the first `early_until` of training.
        early_step_share: step size in that part.
        early_until: fraction of the training that the early part lasts; 0 for none.
        epsilon_warmup: fraction of the training over which epsilon grows from 0, in a line.
        start: where crafting starts: "clean", "uniform" or "gaussian" (standard deviation 0.001).
        start_share: half-width of a uniform start as a fraction of epsilon.
        clip_start: keep the start inside [0,1].
        project: keep iterates within epsilon.
        craft_mode: mode of the network, hence of batch norm, while crafting.
        lr: peak learning rate for batches up to 128 images, scaled in proportion above.
        lr_start: learning rate at the beginning of the warm-up.
        lr_end: learning rate at the end.
        warmup: fraction of the training over which the rate climbs to its peak, in a line.
        decay: how it falls from there: "linear", "cosine", or "piecewise" (a tenth at each
            milestone).
        milestones: fractions of the training at which a piecewise rate falls.
        lr_per_epoch: change the rate between epochs only.
        nesterov: use Nesterov's momentum; the momentum is 0.9.
        weight_decay: of all convolution and linear weights.
        decay_all: let weight decay act on batch norm and biases too.
        clip: largest gradient norm; 0 for no clipping.
        ema: decay of the weight average; 0 for none.
        ema_horizon: fraction of the training that the average looks back on, which sets its decay
            to 1 - 1 / (ema_horizon * steps) in place of `ema`; 0 for none.
        awp: relative size of the adversarial weight perturbation; 0 for none.
        awp_from: fraction of the training after which weights are perturbed.
        crop: padding of the random crop as a fraction of the image's side.
        flip: flip half of the images, unless the data set's classes forbid it.
        cutout: side of the blanked square as a fraction of the image's side; 0 for none.
        validate_every: epochs between two looks at the held-out images; the last four epochs are
            always looked at.
        guard: fall of held-out robust accuracy, beyond chance and to less than half of the best,
            that counts as a collapse and is rolled back.

    Raises:
        ZooError: a value has the wrong type or is out of range.
    """

    name: str
    claim: str = ""
    cost: str = ""
    source: str = ""
    epochs: PositiveCount
    batch_size: PositiveCount
    loss: Literal["natural", "pgd-at", "trades", "mart"] = "pgd-at"
    beta: Amount = 6.0
    label_smoothing: BelowOne = 0.0
    auxiliary: Amount = 0.0
    denoise: bool = False
    steps: PositiveCount = 7
    step_share: PositiveAmount = 0.25
    early_steps: PositiveCount = 3
    early_step_share: PositiveAmount = 0.5
    early_until: BelowOne = 0.0
    epsilon_warmup: BelowOne = 0.0
    start: Literal["clean", "uniform", "gaussian"] = "uniform"
    start_share: PositiveAmount = 1.0
    clip_start: bool = True
    project: bool = True
    craft_mode: Literal["train", "eval"] = "eval"
    lr: PositiveAmount = 0.1
    lr_start: Amount = 0.0
    lr_end: Amount = 0.0
    warmup: BelowOne = 0.0
    decay: Literal["linear", "cosine", "piecewise"] = "linear"
    milestones: tuple[float, ...] = ()
    lr_per_epoch: bool = False
    nesterov: bool = False
    weight_decay: Amount = 5e-4
    decay_all: bool = False
    clip: Amount = 0.0
    ema: BelowOne = 0.0
    ema_horizon: BelowOne = 0.0
    awp: Amount = 0.0
    awp_from: BelowOne = 0.1
    crop: BelowOne = 0.125
    flip: bool = True
    cutout: BelowOne = 0.0
    validate_every: PositiveCount = 1
    guard: BelowOne = 0.1

    def __post_init__(self) -> None:
        check_settings(self, "Recipe setting ")

    @property
    def adversarial(self) -> bool:
        """Whether training crafts adversarial images at all."""
        return self.loss != "natural"

    @property
    def averaged(self) -> bool:
        """Whether there is a weight average."""
        return self.ema > 0 or self.ema_horizon > 0

    def peak_lr(self) -> float:
        """Return the peak learning rate at this batch size."""
        return self.lr * max(1.0, self.batch_size / LR_BATCH)


def register_recipe(recipe: Recipe) -> Recipe:
    """Add a recipe, which `--recipe` and `get_recipe` then take by its name; return it.

    Raises:
        ZooError: the name is taken.
    """
    if recipe.name in RECIPES:
        raise ZooError(f"There is a recipe '{recipe.name}' already; choose another name.")
    RECIPES[recipe.name] = recipe
    return recipe


def get_recipe(name: str) -> Recipe:
    """Return the recipe of that name, or the one that FILE.toml or FILE.json holds.

    Raises:
        ZooError: no such recipe, in which case the nearest names are shown, or a bad file.
    """
    if Path(name).suffix in FILES:
        return read_recipe(Path(name))
    if name not in RECIPES:
        raise unknown_name("recipe", name, [*RECIPES, "FILE.toml"])
    return RECIPES[name]


def read_recipe(path: Path) -> Recipe:
    """Read a recipe's settings from TOML or JSON.

    A file says what it changes of the recipe that its `base` names, or, without one, at least
    `epochs` and `batch_size`. Its name is the file's unless it says another.

    Raises:
        ZooError: the file cannot be read, or has unknown, missing or wrong settings.
    """
    values: dict[str, Any] = FILES[path.suffix](path, dict[str, Any], "recipe")
    settings: dict[str, Any] = {"name": path.stem}
    if "base" in values:
        base = values.pop("base")
        if base not in RECIPES:
            raise unknown_name(f"base in the recipe '{path}':", str(base), RECIPES)
        kept = dataclasses.asdict(RECIPES[base])
        settings |= {name: value for name, value in kept.items() if name not in HEADER}
    return settings_from(settings | values, Recipe, f"recipe '{path}'")


def override(recipe: Recipe, values: Mapping[str, str]) -> Recipe:
    """Return the recipe with settings replaced by values written as text.

    Raises:
        ZooError: an unknown setting, or a value of the wrong type or out of range.
    """
    return options.override(recipe, values, fixed=HEADER)


RECIPES: dict[str, Recipe] = {}
for _path in sorted(Path(__file__).parent.glob("*.toml"), key=lambda path: path.stem):
    register_recipe(read_recipe(_path))  # a base comes before what is made of it
