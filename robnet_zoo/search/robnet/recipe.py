"""RobNet's settings and recipes: what the paper says, and what it leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from robnet_zoo.runtime.decode import BelowOne, Count, PositiveCount
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.run.recipe import SearchRecipe

STUDY_SETTINGS = (  # what a study may set anew on a supernet that is trained
    "architectures",
    "keep",
    "budget",
    "parameters",
    "finetune_epochs",
    "finetune_lr",
    "score_steps",
    "settle_batches",
    "fsp_candidates",
)

UpToOne = Annotated[float, Meta(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class RobNetRecipe(SearchRecipe):
    """Settings of a RobNet search.

    Attributes:
        space: "cell" gives all cells one code, "free" a code to each.
        warmup: fraction of the supernet's steps in which epsilon and the learning rate rise.
        keep: probability that a drawn architecture has each operation.
        architectures: candidates that are fine-tuned and scored.
        budget: number of convolutions in the candidates' cells; "any" for all codes.
        parameters: size of the candidates at the supernet's width and depth; None for any.
        finetune_epochs: adversarial passes over the training images from inherited weights.
        finetune_lr: their first learning rate; it falls in a cosine to 0, step by step.
        score_steps: PGD steps on held-out images, before and after fine-tuning.
        settle_batches: clean batches from which a candidate takes batch norm's statistics anew,
            the supernet's being those of all architectures at once; 0 keeps the supernet's.
        fsp_candidates: cell-free architectures drawn, of which the `architectures` with the
            least FSP distance are fine-tuned. Where both numbers are equal all are: the control,
            which shows what rejecting by distance would have been worth.
    """

    attack_steps: PositiveCount = 7
    space: Literal["cell", "free"] = "cell"
    warmup: BelowOne = 0.1
    keep: Annotated[float, Meta(ge=0.01, le=1)] = 0.5
    architectures: PositiveCount = 1000
    budget: Literal["any", "small", "medium", "large"] = "any"
    parameters: PositiveCount | None = None
    finetune_epochs: Count = 3
    finetune_lr: UpToOne
    score_steps: PositiveCount = 20
    settle_batches: Count = 8
    fsp_candidates: PositiveCount = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.space == "free" and self.architectures > self.fsp_candidates:
            raise ZooError(
                f"architectures={self.architectures} are to be left of "
                f"fsp_candidates={self.fsp_candidates}; measure as many as you keep, which rejects "
                "none, or more."
            )

    @property
    def cells(self) -> int:
        """Number of cell codes that an architecture has."""
        return 1 if self.space == "cell" else self.layers


RECIPES = {
    recipe.name: recipe
    for recipe in (
        RobNetRecipe(
            name="paper",
            claim="the paper's search on CIFAR-10; days on one GPU, the study shared by workers",
            source="Guo et al. 2020, sections 3.2 and 3.3: 7 steps of 0.01 at 8/255, 1,000 "
            "architectures, 3 epochs of fine-tuning. Ours, the paper being silent: width and depth "
            "(those of the released networks), epochs, batch, keep, both rates (that of the "
            "authors' training code, 1.2 at 1,536 images, scaled to the batch; a tenth for "
            "fine-tuning), score_steps, settle_batches, fsp_candidates",
            epochs=60,
            batch_size=256,
            channels=36,
            layers=20,
            lr=0.2,
            lr_end=0.001,
            weight_decay=1e-4,
            finetune_lr=0.02,
        ),
        RobNetRecipe(
            name="digits",
            claim="the whole method on scikit-learn's digits, under half an hour on two CPU cores",
            source="ours",
            dataset="digits",
            epochs=30,
            batch_size=64,
            channels=8,
            layers=5,
            lr=0.1,
            lr_end=0.001,
            weight_decay=1e-4,
            attack_steps=3,
            step_share=0.5,
            warmup=0.4,
            architectures=100,
            finetune_lr=0.02,
            score_steps=10,
            fsp_candidates=200,
        ),
        RobNetRecipe(
            name="smoke",
            claim="every part of the method in a minute; finds nothing",
            source="ours",
            dataset="digits",
            images=128,
            epochs=1,
            batch_size=32,
            channels=4,
            layers=3,
            lr=0.1,
            attack_steps=1,
            architectures=10,
            finetune_epochs=1,
            finetune_lr=0.02,
            score_steps=1,
            settle_batches=1,
            fsp_candidates=20,
        ),
    )
}
