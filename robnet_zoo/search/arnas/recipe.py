"""The settings of an ARNAS search, and its recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robnet_zoo.runtime.decode import Amount, PositiveAmount
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.recipe import SoftmaxRecipe
from robnet_zoo.search.core.spaces import Space, arnas_space

WIDEST = 64
CELL_TYPES = {"A": "accurate", "R": "robust"}


@dataclass(frozen=True, kw_only=True)
class ArnasRecipe(SoftmaxRecipe):
    """Settings of an ARNAS search; the common ones are described in its bases.

    Attributes:
        mixing: of the objectives' gradients: "mgda" for their shortest mixture, the paper's;
            "even" for their mean; "adversarial" for the adversarial loss alone, the others only
            logged.
        adversarial_weight: what the adversarial loss is multiplied by before its gradient is
            mixed with the natural one's.
        parameters_weight: the same for a third objective, the expected number of parameters as a
            fraction of the largest possible; 0 leaves it out.
        placement: cell type of each third of the supernet, "A" (accurate) or "R" (robust).
        multiples: width of each third, as a multiple of `channels`.
    """

    mixing: Literal["mgda", "even", "adversarial"] = "mgda"
    adversarial_weight: PositiveAmount = 0.1
    parameters_weight: Amount = 0.0
    placement: str = "AAR"
    multiples: tuple[int, ...] = (1, 2, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        arrangement(self.placement, self.multiples)
        if self.mixing == "adversarial" and self.parameters_weight:
            raise ZooError(
                f"parameters_weight={self.parameters_weight} has no say beside "
                "mixing=adversarial; leave it at 0, or mix by mgda or even."
            )

    def space(self) -> Space:
        """Return the search space that the settings describe."""
        return arnas_space(self.layers, *arrangement(self.placement, self.multiples))


def arrangement(
    placement: str, multiples: tuple[int, ...]
) -> tuple[tuple[str, str, str], tuple[int, int, int]]:
    """Return the cell type's name and the width of each third, for texts such as "AAR".

    Raises:
        ZooError: not three letters A or R, or not three whole numbers from 1 to `WIDEST`.
    """
    if len(placement) != 3 or not set(placement) <= set(CELL_TYPES):
        raise ZooError(
            f"Placement '{placement}' is not understood; write A (accurate) or R (robust) for each "
            "third of the network, such as AAR."
        )
    if len(multiples) != 3 or min(multiples) < 1 or max(multiples) > WIDEST:
        raise ZooError(
            f"Multiples {list(multiples)} are not possible; give a width from 1 to {WIDEST} for "
            "each third of the network, such as 1,2,2."
        )
    first, second, third = (CELL_TYPES[letter] for letter in placement)
    return (first, second, third), (multiples[0], multiples[1], multiples[2])


RECIPES = {
    recipe.name: recipe
    for recipe in (
        ArnasRecipe(
            name="paper",
            claim="the authors' own search on CIFAR-10",
            source="the authors' published search code; perturbed pixels stay in [0,1] here",
            seed=2,
            epochs=50,
            batch_size=32,
            channels=24,
            layers=8,
            lr=0.025,
            lr_end=0.001,
        ),
        ArnasRecipe(
            name="digits",
            claim="the search in ten minutes on one CPU core",
            source="the paper recipe, narrower and shorter, with PGD-3 and a faster architecture",
            dataset="digits",
            epochs=12,
            batch_size=64,
            channels=4,
            layers=5,
            lr=0.05,
            lr_end=0.002,
            attack_steps=3,
            step_share=0.5,
            architecture_lr=0.02,
        ),
        ArnasRecipe(
            name="smoke",
            claim="shows that all parts work, and finds nothing",
            source="the digits recipe on few images",
            dataset="digits",
            images=64,
            epochs=2,
            batch_size=16,
            channels=2,
            layers=4,
            lr=0.05,
            lr_end=0.002,
            attack_steps=2,
            step_share=0.5,
            architecture_lr=0.02,
        ),
    )
}
