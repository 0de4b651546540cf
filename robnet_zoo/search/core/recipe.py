"""The settings of the searches whose architecture learns by gradients."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

from robnet_zoo.runtime.decode import Amount, PositiveAmount
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


@dataclass(frozen=True, kw_only=True)
class SoftmaxRecipe(DifferentiableRecipe):
    """Settings of a search whose architecture is a softmax of scores, as in DARTS.

    Attributes:
        order: "second" looks one step of the weights ahead, "first" takes them as they are.
        architecture_betas: two decay rates of the architecture's Adam.
    """

    order: Literal["first", "second"] = "second"
    architecture_betas: tuple[float, float] = (0.5, 0.999)
