"""What an attacker may do to an image: a ball around it, cut to pixels in [0,1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robnet_zoo.threat_models import Norm

Box = tuple[Tensor, Tensor]  # lower and upper bounds (N, ...) of a value


@dataclass(frozen=True)
class Ball:
    """A ball around each image, cut to [0,1].

    Attributes:
        images: (N, C, H, W) in [0,1].
        radius: (N,), in pixels' unit.
        norm: of the perturbation.
    """

    images: Tensor
    radius: Tensor
    norm: Norm

    @property
    def box(self) -> Box:
        """The smallest box that holds the ball."""
        radius = self.radius.view(-1, 1, 1, 1)
        return (self.images - radius).clamp(min=0), (self.images + radius).clamp(max=1)

    def least(self, coefficients: Tensor) -> Tensor:
        """Return the least change (R, N) that coefficients (R, N, C, H, W) see in the ball."""
        change = least_change(coefficients, self.box, self.images)
        if self.norm == "Linf":
            return change
        size = torch.linalg.vector_norm(coefficients.flatten(2), dim=2)
        return torch.maximum(change, -self.radius * size)

    def sample(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return a random point of each ball's surface, under Linf a corner, and one inside."""
        shape, like = self.images.shape, self.images
        way = torch.randn(shape, generator=generator, dtype=like.dtype).to(like.device)
        if self.norm == "Linf":
            way = way.sign()
        else:
            way = way / way.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        part = torch.rand(shape, generator=generator, dtype=like.dtype).to(like.device)
        radius = self.radius.detach().view(-1, 1, 1, 1)
        corner, inside = (like + radius * step for step in (way, part * way))
        return corner.clamp(0, 1), inside.clamp(0, 1)


def least_change(coefficients: Tensor, box: Box, at: Tensor) -> Tensor:
    """Return the least change (R, N) that coefficients (R, N, ...) see in a box around a value."""
    low, high = box[0] - at, box[1] - at
    change = coefficients.clamp(min=0) * low + coefficients.clamp(max=0) * high
    return change.flatten(2).sum(2)
