"""The settings of the searches whose architecture learns by gradients."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

from robnet_zoo.runtime.decode import Amount, BelowOne, PositiveAmount
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.spaces import Space
from robnet_zoo.search.run.recipe import SearchRecipe


@dataclass(frozen=True, kw_only=True)
class DifferentiableRecipe(SearchRecipe):
    """Settings of a differentiable search.

    Attributes:
        architecture_lr: learning rate of the architecture's Adam.
        architecture_decay: its weight decay.
    """

    architecture_lr: PositiveAmount = 3e-4
    architecture_decay: Amount = 1e-3

    @abstractmethod
    def space(self) -> Space:
        """Return the search space that the settings describe."""

    def check_warmup(self, warmup: int) -> None:
        """Raise ZooError where the epochs in which an architecture waits leave it none to learn."""
        if warmup >= self.epochs:
            raise ZooError(
                f"warmup={warmup} leaves nothing of epochs={self.epochs} for the architecture; "
                "choose fewer epochs of warm-up, or more in all."
            )


@dataclass(frozen=True, kw_only=True)
class SoftmaxRecipe(DifferentiableRecipe):
    """Settings of a search whose architecture is a softmax of scores, as in DARTS.

    Attributes:
        order: "second" looks one step of the weights ahead, "first" takes them as they are.
        architecture_betas: two decay rates of the architecture's Adam.
    """

    order: Literal["first", "second"] = "second"
    architecture_betas: tuple[BelowOne, BelowOne] = (0.5, 0.999)
