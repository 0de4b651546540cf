"""The settings of a DSRNA search, and its recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robnet_zoo.runtime.decode import Count, PositiveAmount, PositiveCount
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.recipe import SoftmaxRecipe
from robnet_zoo.search.core.spaces import Space, darts_space

Metric = Literal["cb", "jacobian", "combined"]
Estimator = Literal["exact", "projection", "top"]
Bound = Literal["interval", "mixed", "linear"]


@dataclass(frozen=True, kw_only=True)
class DsrnaRecipe(SoftmaxRecipe):
    """Settings of a DSRNA search; the common ones are described in its bases.

    Attributes:
        metric: what the architecture maximises: the certified lower bound ("cb"), the Jacobian
            norm bound, or their sum ("combined").
        gamma: weight of the metric beside the loss of the architecture's images.
        warmup: epochs in which the architecture sees the loss alone.
        partial: one in so many channels goes through the operations (PC-DARTS's K).
        bound: how logits are bounded, as in `certify.bounds`.
        bound_images: images of a batch that are bounded.
        bound_size: radius of the ball; None for one that `slack` decides, step by step.
        slack: logits that the bound gives away on average, roughly, at the radius that is taken.
        estimator: of the Jacobian's norm: "exact" for all rows, "projection" for random ones,
            "top" for those of the largest logits.
        estimates: number of projections, or of largest logits.
    """

    attack_steps: Count = 0
    metric: Metric = "combined"
    gamma: PositiveAmount = 0.01
    warmup: Count = 10
    partial: PositiveCount = 4
    bound: Bound = "mixed"
    bound_images: PositiveCount = 8
    bound_size: PositiveAmount | None = None
    slack: PositiveAmount = 1.0
    estimator: Estimator = "projection"
    estimates: PositiveCount = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attack_steps:
            raise ZooError(
                f"Recipe setting attack_steps={self.attack_steps} is not possible: DSRNA searches "
                "on clean images; leave it at 0."
            )
        self.check_warmup(self.warmup)

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
