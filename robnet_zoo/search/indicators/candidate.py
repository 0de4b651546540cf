"""An architecture that indicators look at, at the size at which it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from robnet_zoo.genotypes import Cell, CellGenotype

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A genotype at a size.

    Attributes:
        genotype: of two-edge cells, normal and reduction.
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

    @property
    def normal(self) -> Cell:
        """The normal cell."""
        return self.genotype.cells["normal"]

    @property
    def reduction(self) -> Cell:
        """The reduction cell."""
        return self.genotype.cells["reduce"]

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
