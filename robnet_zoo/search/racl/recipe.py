"""The settings of a RACL search, and its recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from robnet_zoo.runtime.decode import Amount, Count, PositiveAmount, PositiveCount
from robnet_zoo.search.core.recipe import DifferentiableRecipe
from robnet_zoo.search.core.spaces import Space, darts_space

Spread = Literal["variance", "deviation"]
Penalty = Literal["literal", "hinge"]
Covariance = Literal["shared", "independent"]
Normalise = Literal["score", "both", "nothing"]
Choice = Literal["median", "mode", "sample"]


@dataclass(frozen=True, kw_only=True)
class RaclRecipe(DifferentiableRecipe):
    """Settings of a RACL search; those of every search are described in `SearchRecipe`.

    Two Adams with the architecture's settings learn mu and sigma; weight decay pulls both back to
    where they started.

    Attributes:
        partial: one in so many channels goes through the operations (PC-DARTS's K).
        warmup: epochs in which the weights alone learn.
        deviation: sigma of every architecture weight at the start; 0 searches without confidence
            learning, under the constraint on Eq. 10 alone.
        eta: confidence that the constraint asks for.
        rho: weight of its squared violation, and step of its multiplier.
        spread: "variance" as in Eq. 16, "deviation" as in Eq. 15.
        penalty: "hinge", which leaves a met constraint alone and settles, or "literal" as in
            Eq. 17, whose c swings around 0 for as long as the search goes on.
        covariance: cells of a type have one architecture, so their scores are "shared" noise;
            "independent" adds their variances, as printed.
        normalise: let weights sum to 1 over an edge's operations and a node's edges in the
            "score", which a common factor of theirs then cannot lower; in "both" score and
            forward pass; or in "nothing", as printed.
        log_target: ln lambda*; None for `target_drop`.
        target_drop: how far ln lambda* lies below the score's mu at the first architecture step.
        batch_norm: count the operations' batch norms in their Lipschitz constants.
        choice: what an operation is judged by in the end: its weight's median, mode, or a sample.
    """

    attack_steps: Count = 0
    architecture_lr: PositiveAmount = 6e-4
    partial: PositiveCount = 4
    warmup: Count = 15
    deviation: Amount = 0.1
    eta: Annotated[float, Meta(gt=0, lt=1)] = 0.9
    rho: Amount = 1e-3
    spread: Spread = "variance"
    penalty: Penalty = "hinge"
    covariance: Covariance = "shared"
    normalise: Normalise = "score"
    log_target: float | None = None
    target_drop: float = 4.0
    batch_norm: bool = False
    choice: Choice = "median"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_warmup(self.warmup)

    def space(self) -> Space:
        """Return the search space that the settings describe."""
        return darts_space(self.layers, self.partial)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        RaclRecipe(
            name="paper",
            claim="the paper's own search on CIFAR-10",
            source="RACL, section 3.1; what it leaves open as in PC-DARTS",
            epochs=50,
            batch_size=128,
            channels=16,
            layers=8,
            lr=0.1,
        ),
        RaclRecipe(
            name="digits",
            claim="the search in three minutes on one CPU core",
            source="the paper recipe, smaller and shorter, with a faster architecture, under a "
            "constraint that is exact (Eq. 15) and left alone where it is met",
            dataset="digits",
            epochs=25,
            batch_size=64,
            channels=8,
            layers=5,
            lr=0.1,
            partial=2,
            warmup=8,
            architecture_lr=0.01,
            spread="deviation",
            target_drop=2.0,
        ),
        RaclRecipe(
            name="smoke",
            claim="shows that all parts work, and finds nothing",
            source="the digits recipe on few images",
            dataset="digits",
            images=96,
            epochs=4,
            batch_size=16,
            channels=8,
            layers=3,
            lr=0.1,
            warmup=1,
            architecture_lr=0.01,
            spread="deviation",
            target_drop=2.0,
        ),
    )
}
