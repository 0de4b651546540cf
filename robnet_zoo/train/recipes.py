"""The recipes: every setting of a training run that belongs to the method, with its source.

Learning rates are written for batches of 128 images or fewer and grow in proportion above (the
linear scaling rule); all the papers' rates below follow from 0.1. Step sizes are shares of the
threat model's epsilon, so that a recipe means the same on every data set: a quarter is 2/255 of
8/255. Moments are shares of the whole training, so that `--epochs` stretches a recipe as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from robnet_zoo.runtime import options
from robnet_zoo.runtime.errors import ZooError, unknown_name

LR_BATCH = 128  # the batch size that learning rates are written for
_TINY = 1e-9  # stands for "above 0"
_RANGES = {
    **dict.fromkeys(("epochs", "batch_size", "steps", "early_steps"), (1, math.inf)),
    "validate_every": (1, math.inf),
    **dict.fromkeys(("lr", "step_share", "early_step_share", "start_share"), (_TINY, math.inf)),
    **dict.fromkeys(("beta", "auxiliary", "weight_decay", "clip", "awp"), (0, math.inf)),
    **dict.fromkeys(("lr_start", "lr_end"), (0, math.inf)),
    **dict.fromkeys(("label_smoothing", "early_until", "epsilon_warmup", "warmup"), (0, 1)),
    **dict.fromkeys(("ema", "ema_horizon", "awp_from", "crop", "cutout", "guard"), (0, 1)),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training method.

    Attributes:
        name: what `--recipe` calls it.
        claim: what the recipe is for and what it is said to reach.
        cost: network passes a training image costs in an epoch, and the hardware known to do it.
        source: where the settings come from.
        epochs: passes over the training part.
        batch_size: images in an optimizer step, over all processes.
        loss: "natural", "pgd-at", "trades" or "mart" (`losses.py`).
        beta: weight of the KL term of TRADES and MART.
        label_smoothing: share of the target spread over all classes.
        auxiliary: weight of the auxiliary head's loss on the clean images; 0 builds no head.
        denoise: add feature denoising blocks (RobNet, Table 4) to the network.
        steps: gradients that crafting takes.
        step_share: crafting's step size as a share of epsilon.
        early_steps: gradients taken in the first `early_until` of training.
        early_step_share: step size in that part.
        early_until: share of the training that the early part lasts; 0 for none.
        epsilon_warmup: share of the training over which epsilon grows from 0, in a line.
        start: where crafting starts: "clean", "uniform" or "gaussian" (standard deviation 0.001).
        start_share: half-width of a uniform start as a share of epsilon.
        clip_start: keep the start inside [0,1].
        project: keep iterates within epsilon.
        craft_mode: mode of the network, hence of batch norm, while crafting.
        lr: peak learning rate for batches up to 128 images, scaled in proportion above.
        lr_start: learning rate at the beginning of the warm-up.
        lr_end: learning rate at the end.
        warmup: share of the training over which the rate climbs to its peak, in a line.
        decay: how it falls from there: "linear", "cosine", or "piecewise" (a tenth at each
            milestone).
        milestones: shares of the training at which a piecewise rate falls.
        lr_per_epoch: change the rate between epochs only.
        nesterov: use Nesterov's momentum; the momentum is 0.9.
        weight_decay: of all convolution and linear weights.
        decay_all: let weight decay act on batch norm and biases too.
        clip: largest gradient norm; 0 for no clipping.
        ema: decay of the weight average; 0 for none.
        ema_horizon: share of the training that the average looks back on, which sets its decay to
            1 - 1 / (share * steps) in place of `ema`; 0 for none.
        awp: relative size of the adversarial weight perturbation; 0 for none.
        awp_from: share of the training after which weights are perturbed.
        crop: padding of the random crop as a share of the image's side.
        flip: flip half of the images, unless the data set's classes forbid it.
        cutout: side of the blanked square as a share of the image's side; 0 for none.
        validate_every: epochs between two looks at the held-out images; the last four epochs are
            always looked at.
        guard: fall of held-out robust accuracy, beyond chance and to less than half of the best,
            that counts as a collapse and is rolled back.
    """

    name: str
    claim: str
    cost: str
    source: str
    epochs: int
    batch_size: int
    loss: Literal["natural", "pgd-at", "trades", "mart"] = "pgd-at"
    beta: float = 6.0
    label_smoothing: float = 0.0
    auxiliary: float = 0.0
    denoise: bool = False
    steps: int = 7
    step_share: float = 0.25
    early_steps: int = 3
    early_step_share: float = 0.5
    early_until: float = 0.0
    epsilon_warmup: float = 0.0
    start: Literal["clean", "uniform", "gaussian"] = "uniform"
    start_share: float = 1.0
    clip_start: bool = True
    project: bool = True
    craft_mode: Literal["train", "eval"] = "eval"
    lr: float = 0.1
    lr_start: float = 0.0
    lr_end: float = 0.0
    warmup: float = 0.0
    decay: Literal["linear", "cosine", "piecewise"] = "linear"
    milestones: tuple[float, ...] = ()
    lr_per_epoch: bool = False
    nesterov: bool = False
    weight_decay: float = 5e-4
    decay_all: bool = False
    clip: float = 0.0
    ema: float = 0.0
    ema_horizon: float = 0.0
    awp: float = 0.0
    awp_from: float = 0.1
    crop: float = 0.125
    flip: bool = True
    cutout: float = 0.0
    validate_every: int = 1
    guard: float = 0.1

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if not (lowest <= value < highest and math.isfinite(value)):
                raise ZooError(
                    f"Recipe setting {name}={value} is out of range; it must be at least "
                    f"{lowest:g}" + (f" and below {highest:g}." if highest < math.inf else ".")
                )

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


_SLOT = Recipe(
    name="slot",
    claim="full-size CIFAR-10 weights from ten minutes of one GPU: 78 % clean, 44 % PGD-20 for "
    "RACL after 14.6 passes",
    cost="3 forward and backward passes; RACL's 14.6 passes took 484 seconds of one H200",
    source="PGD-AT (Madry et al. 2018) with two steps of half of epsilon, one cycle (Wong et "
    "al. 2020), label smoothing (Pang et al. 2021) and EMA (Gowal et al. 2020); a growing "
    "epsilon gets deep networks of narrow cells started",
    epochs=24,
    batch_size=512,
    steps=2,
    step_share=0.5,
    epsilon_warmup=0.2,
    warmup=0.2,
    nesterov=True,
    label_smoothing=0.2,
    ema_horizon=0.05,
    clip=5.0,
    validate_every=4,
)
_ALL = (
    Recipe(
        name="natural",
        claim="no attack: the papers' comparison, accurate and fragile",
        cost="1 forward and 1 backward pass",
        source="RACL, Table 1, right half; one cycle instead of the papers' 600 epochs",
        epochs=40,
        batch_size=128,
        loss="natural",
        warmup=0.35,
        nesterov=True,
        label_smoothing=0.1,
        ema=0.999,
        clip=5.0,
    ),
    Recipe(
        name="fast",
        claim="useful robustness in minutes; expected on CIFAR-10, not yet measured here: about "
        "80 % clean, 46-48 % PGD-20",
        cost="2 forward and 2 backward passes; under 10 minutes on one H200",
        source="de Jorge et al. 2022, N-FGSM: noise of 2 epsilon, one step of epsilon, no clipping",
        epochs=30,
        batch_size=512,
        steps=1,
        step_share=1.0,
        start_share=2.0,
        project=False,
        warmup=0.35,
        nesterov=True,
        ema=0.999,
        clip=5.0,
    ),
    _SLOT,
    replace(
        _SLOT,
        name="slot-fast",
        claim="`slot` for a GPU that takes under 1,500 images a second; not yet measured",
        cost="2 forward and backward passes",
        source="`slot` with N-FGSM (de Jorge et al. 2022) in place of PGD-2",
        steps=1,
        step_share=1.0,
        start_share=2.0,
        project=False,
    ),
    Recipe(
        name="standard",
        claim="the zoo's default; expected on CIFAR-10, not yet measured here: 80-83 % clean, "
        "49-52 % PGD-20",
        cost="4 forward and backward passes, 8 in the last 40 %; half an hour on one H200, at the "
        "rate that `slot` reached",
        source="PGD-AT (Madry et al. 2018) with one cycle (Wong et al. 2020) and label smoothing, "
        "batch norm in eval mode while crafting (Pang et al. 2021) and EMA (Gowal et al. 2020)",
        epochs=36,
        batch_size=512,
        steps=7,
        step_share=0.25,
        early_steps=3,
        early_step_share=0.5,
        early_until=0.6,
        warmup=0.35,
        nesterov=True,
        label_smoothing=0.1,
        ema=0.999,
        clip=5.0,
    ),
    Recipe(
        name="best",
        claim="the most robust weights; expected on CIFAR-10, not yet measured here: "
        "53-55 % PGD-20, 49-51 % AutoAttack",
        cost="about 13 forward and backward passes; two hours on one H200, at the rate that `slot` "
        "reached",
        source="TRADES (Zhang et al. 2019) with AWP (Wu et al. 2020) and EMA; for PGD-AT with AWP "
        "set loss=pgd-at and awp=0.01",
        epochs=60,
        batch_size=512,
        loss="trades",
        steps=10,
        start="gaussian",
        warmup=0.2,
        decay="cosine",
        nesterov=True,
        ema=0.999,
        awp=0.005,
        clip=5.0,
    ),
    Recipe(
        name="digits",
        claim="the zoo's embedded weights: 98.7 % clean, 79.8 % PGD-100 for RACL on 8x8 digits",
        cost="2 forward and backward passes, 4 in the last 60 %; 11-25 minutes on one CPU core",
        source="PGD-AT (Madry et al. 2018) with one cycle; three steps of half of epsilon are "
        "enough for images of 64 pixels, and a growing epsilon gets a narrow network started",
        epochs=30,
        batch_size=32,
        steps=3,
        step_share=0.5,
        early_steps=1,
        early_step_share=1.0,
        early_until=0.4,
        epsilon_warmup=0.4,
        warmup=0.2,
        nesterov=True,
        clip=5.0,
    ),
    Recipe(
        name="paper-robnet",
        claim="RobNet's own training; published for RobNet-free on CIFAR-10: 82.79 % clean, "
        "52.74 % PGD-20",
        cost="8 forward and backward passes, 170 epochs",
        source="When NAS Meets Robustness, official training script: 20 + 150 epochs, PGD-7 in "
        "train mode from an unclipped start, weight decay on weights only",
        epochs=170,
        batch_size=1536,
        clip_start=False,
        craft_mode="train",
        lr_start=0.02,
        lr_end=0.001,
        warmup=20 / 170,
        decay="cosine",
        lr_per_epoch=True,
        weight_decay=1e-4,
        cutout=0.5,
    ),
    Recipe(
        name="paper-arnas",
        claim="ARNAS's own training",
        cost="9 forward and backward passes, 200 epochs",
        source="ARNAS, official training script: PGD-7 with steps of 0.01 from Gaussian noise, "
        "auxiliary head on the clean images, cutout of 16 pixels",
        epochs=200,
        batch_size=32,
        auxiliary=0.4,
        step_share=0.01 * 255 / 8,
        start="gaussian",
        decay="piecewise",
        milestones=(99 / 200, 149 / 200),
        lr_per_epoch=True,
        weight_decay=1e-4,
        decay_all=True,
        clip=5.0,
        cutout=0.5,
    ),
    Recipe(
        name="advrush",
        claim="AdvRush's training, the public recipe that the RACL cell was retrained with",
        cost="8 forward and backward passes, 200 epochs",
        source="AdvRush, official training script: PGD-7 with steps of 0.01 from Gaussian noise, "
        "a tenth of the rate at epochs 100 and 150",
        epochs=200,
        batch_size=64,
        step_share=0.01 * 255 / 8,
        start="gaussian",
        decay="piecewise",
        milestones=(0.5, 0.75),
        lr_per_epoch=True,
        weight_decay=1e-4,
        decay_all=True,
        clip=5.0,
    ),
)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
FIXED = ("name", "claim", "cost", "source")  # the header, which no override may touch


def get_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        ZooError: no such recipe; the nearest names are shown.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def override(recipe: Recipe, values: Mapping[str, str]) -> Recipe:
    """Return the recipe with settings replaced by values written as text.

    Raises:
        ZooError: an unknown setting, or a value of the wrong type or out of range.
    """
    return options.override(recipe, values, fixed=FIXED)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `dataclasses.asdict` wrote, read back from JSON."""
    read: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Recipe(**read)
