"""The settings of a DSRNA search, and its recipes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.search.core.spaces import Space, darts_space
from robnet_zoo.search.run.recipe import SearchRecipe

Metric = Literal["cb", "jacobian", "combined"]
Estimator = Literal["exact", "projection", "top"]
Bound = Literal["interval", "mixed", "linear"]
CHOICES = {"metric": Metric, "estimator": Estimator, "bound": Bound}


@dataclass(frozen=True, kw_only=True)
class DsrnaRecipe(SearchRecipe):
    """Settings of a DSRNA search; the common ones are described in `SearchRecipe`.

    Attributes:
        metric: what the architecture maximises: the certified lower bound ("cb"), the Jacobian
            norm bound, or their sum ("combined").
        gamma: weight of the metric beside the loss of the architecture's images.
        order: "second" looks one step of the weights ahead, "first" takes them as they are.
        warmup: epochs in which the architecture sees the loss alone.
        partial: one in so many channels goes through the operations (PC-DARTS's K).
        bound: how logits are bounded, as in `certify.bounds`.
        bound_images: images of a batch that are bounded.
        bound_size: radius of the ball; None for one that `slack` decides, step by step.
        slack: logits that the bound gives away on average, roughly, at the radius that is taken.
        estimator: of the Jacobian's norm: "exact" for all rows, "projection" for random ones,
            "top" for those of the largest logits.
        estimates: number of projections, or of largest logits.
        architecture_lr: learning rate of the architecture's Adam.
        architecture_betas: its two decay rates.
        architecture_decay: its weight decay.
    """

    attack_steps: int = 0
    metric: Metric = "combined"
    gamma: float = 0.01
    order: Literal["first", "second"] = "second"
    warmup: int = 10
    partial: int = 4
    bound: Bound = "mixed"
    bound_images: int = 8
    bound_size: float | None = None
    slack: float = 1.0
    estimator: Estimator = "projection"
    estimates: int = 1
    architecture_lr: float = 3e-4
    architecture_betas: tuple[float, ...] = (0.5, 0.999)
    architecture_decay: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise unknown_name(name, getattr(self, name), get_args(choices))
        if self.attack_steps:
            raise ZooError(
                f"Recipe setting attack_steps={self.attack_steps} is not possible: DSRNA searches "
                "on clean images; leave it at 0."
            )
        if len(self.architecture_betas) != 2:
            raise ZooError(
                f"Recipe setting architecture_betas={self.architecture_betas} needs two numbers."
            )
        limits = {
            "above 0": ("gamma", "bound_size", "slack", "architecture_lr"),
            "0 or more": ("warmup", "architecture_decay"),
            "1 or more": ("partial", "bound_images", "estimates"),
        }
        for allowed, names in limits.items():
            for name in names:
                value = getattr(self, name)
                least = 1 if allowed == "1 or more" else 0
                fits = value is None or (math.isfinite(value) and value >= least)
                if not fits or (allowed == "above 0" and value == 0):
                    raise ZooError(
                        f"Recipe setting {name}={value} is out of range; it must be {allowed}."
                    )

    def space(self) -> Space:
        """Return the search space that the settings describe."""
        return darts_space(self.layers, self.partial)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        DsrnaRecipe(
            name="paper",
            claim="the search on CIFAR-10, as far as its settings are known",
            source="second-hand reports of the paper; optimizers of an unofficial re-run",
            epochs=50,
            batch_size=64,
            channels=16,
            layers=8,
            lr=0.025,
            lr_end=0.001,
            bound_images=2,
        ),
        DsrnaRecipe(
            name="digits",
            claim="the search in less than half an hour on one CPU core",
            source="the paper recipe, narrower and shorter, with a faster architecture",
            dataset="digits",
            epochs=12,
            batch_size=64,
            channels=8,
            layers=5,
            lr=0.05,
            lr_end=0.002,
            warmup=3,
            bound_images=4,
            architecture_lr=0.02,
        ),
        DsrnaRecipe(
            name="smoke",
            claim="shows that all parts work, and finds nothing",
            source="the digits recipe on few images",
            dataset="digits",
            images=16,
            epochs=2,
            batch_size=8,
            channels=4,
            layers=3,
            lr=0.05,
            lr_end=0.002,
            warmup=1,
            partial=2,
            bound_images=1,
            architecture_lr=0.02,
        ),
    )
}
