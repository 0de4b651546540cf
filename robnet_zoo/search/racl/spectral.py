"""Spectral norms of convolutions, by power iteration on the true linear operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

TINY = 1e-30  # keeps the norm of a convolution without weights from dividing by 0


class SpectralNorms:
    """The spectral norms of many convolutions, one step closer whenever they are asked for.

    A convolution is the linear map A that takes a whole zero-padded map (in, side, side) to
    conv2d of it; with its stride, dilation and groups. A step of power iteration is

        u = A v,    norm = |A' u| / |u|,    v <- A' u / |A' u|,

    and v is kept for the next step, so that a norm follows weights that change slowly. Norms are
    approached from below. Convolutions of one shape iterate as one grouped convolution.
    """

    def __init__(self, convs: Sequence[tuple[nn.Conv2d, int]], generator: torch.Generator) -> None:
        """Start with random vectors.

        Args:
            convs: each convolution and the side of the map that it reads.
            generator: of the CPU; draws the first vectors.
        """
        alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for place, (conv, side) in enumerate(convs):
            kind = (conv.weight.shape, conv.stride, conv.padding, conv.dilation, conv.groups)
            alike[*kind, side].append(place)
        self.places = list(alike.values())
        self.convs = [[convs[place][0] for place in places] for places in self.places]
        self.vectors = []
        for places in self.places:
            conv, side = convs[places[0]]
            shape = (len(places), conv.in_channels, side, side)
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
            self.vectors.append(_unit(drawn)[0].to(conv.weight))

    @torch.no_grad()
    def step(self) -> Tensor:
        """Take one step of power iteration; return the norms (convs,), in float64 on the CPU."""
        norms = torch.empty(sum(map(len, self.places)), dtype=torch.float64)
        for index, (places, convs) in enumerate(zip(self.places, self.convs, strict=True)):
            self.vectors[index], grouped = power_step(convs, self.vectors[index])
            norms[places] = grouped.double().cpu()
        return norms


def power_step(convs: Sequence[nn.Conv2d], vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next unit vectors (n, in, H, W) and the norms (n,) of n convolutions of a shape.

    Args:
        convs: equal in shape, stride, padding, dilation and groups.
        vectors: their unit vectors (n, in, H, W).
    """
    first, count = convs[0], len(convs)
    weights = torch.cat([conv.weight for conv in convs])
    geometry: Any = (first.stride, first.padding, first.dilation, count * first.groups)
    joined = vectors.flatten(0, 1)[None]  # one image, whose groups are the convolutions
    forward = F.conv2d(joined, weights, None, *geometry)
    back = conv2d_input(joined.shape, weights, forward, *geometry)
    _, before = _unit(forward.reshape(count, -1))
    following, after = _unit(back.reshape(vectors.shape))
    return following, after / before


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors (n, ...) of length 1, and the lengths (n,) that they had."""
    lengths = vectors.flatten(1).norm(dim=1).clamp(min=TINY)
    return vectors / lengths.view(-1, *[1] * (vectors.dim() - 1)), lengths
