"""An architecture that indicators look at, at the size at which it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from robnet_zoo.genotypes import CellGenotype, Nodes

if TYPE_CHECKING:
    from torch import nn

    from robnet_zoo.models.cells import CellPlan


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A genotype at a size.

    Attributes:
        genotype: of two-edge cells.
        channels: width of the network.
        layers: its number of cells.
        num_classes: logits.
        in_channels: of an image.
        image_size: its side in pixels.
    """

    genotype: CellGenotype
    channels: int = 16
    layers: int = 8
    num_classes: int = 10
    in_channels: int = 3
    image_size: int = 32

    @cached_property
    def plans(self) -> list[CellPlan]:
        """The network's cells, first to last."""
        from robnet_zoo.models.cells import plan_cells

        return plan_cells(self.genotype, self.layers)

    def mean(self, measure: Callable[[Nodes], float], *, reduction: bool) -> float:
        """Return the mean of a measure over the network's normal or its reduction cells.

        All normal cells are alike but in a genotype of three roles (ARNAS).
        """
        values = [measure(plan.nodes) for plan in self.plans if plan.reduction == reduction]
        return sum(values) / len(values)

    def both(self, measure: Callable[[Nodes], float]) -> float:
        """Return the sum of both means: what the normal and the reduction cell hold together."""
        return self.mean(measure, reduction=False) + self.mean(measure, reduction=True)

    def build(self) -> nn.Module:
        """Return the network, with weights drawn from torch's global generator."""
        from robnet_zoo.models.networks import build_network

        return build_network(
            self.genotype,
            channels=self.channels,
            layers=self.layers,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
        )

    @cached_property
    def skeleton(self) -> nn.Module:
        """The network without storage, for what follows from shapes."""
        import torch

        with torch.device("meta"):
            return self.build()
