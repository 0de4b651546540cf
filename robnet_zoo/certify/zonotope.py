"""Boxes of a model's values by zonotopes: forward, with what values have in common kept.

A value is a centre, plus generators times symbols in [-1,1] that all values share, plus a box of
its own. The first symbols are the pixels; each ReLU or max pool whose input leaves its line open
adds symbols, one an entry (Singh et al. 2018, DeepZ; Gehr et al. 2018, AI2). An affine map moves
the generators as it moves images, so a network is passed once for each symbol, and not twice for
each open ReLU as where `linear` pulls every one of them back: this is what reaches networks of
twenty cells, at sizes that leave few ReLUs open.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robnet_zoo.certify.ball import Ball, Box
from robnet_zoo.certify.graph import Graph, Map, Node
from robnet_zoo.certify.linear import Bounds, intersect, step
from robnet_zoo.certify.relaxation import lines, parallel

SYMBOLS = 4096  # beyond them, what a ReLU leaves open goes into its box


@dataclass
class Zonotope:
    """centre + sum of generators times symbols + a box of its own radius.

    Attributes:
        centre: (N, ...).
        generators: (G, N, ...), of the first G symbols.
        radius: (N, ...), 0 or more.
    """

    centre: Tensor
    generators: Tensor
    radius: Tensor

    def box(self, ball: Ball) -> Box:
        """Return lower and upper bounds (N, ...) over a ball."""
        reach = _reach(ball, self.generators) + self.radius
        return self.centre - reach, self.centre + reach

    def least(self, ball: Ball, coefficients: Tensor) -> Tensor:
        """Return lower bounds (R, N) of combinations (R, N, classes) of logits over a ball."""
        moved = torch.einsum("rnk,gnk->grn", coefficients, self.generators)
        centre = torch.einsum("rnk,nk->rn", coefficients, self.centre)
        radius = torch.einsum("rnk,nk->rn", coefficients.abs(), self.radius)
        return centre - _reach(ball, moved) - radius


def _reach(ball: Ball, generators: Tensor) -> Tensor:
    """Return how far generators (G, ...) move a value at most (...)."""
    pixels = ball.images[0].numel()
    own, added = generators[:pixels], generators[pixels:]
    moved = torch.linalg.vector_norm(own, 1 if ball.norm == "Linf" else 2, dim=0)
    return moved + added.abs().sum(0)


def of_ball(ball: Ball) -> Zonotope:
    """Return the zonotope of a ball's images, with one symbol a pixel.

    Under L2 the symbols lie together in a ball and its cut to [0,1] is left out.
    """
    low, high = ball.box
    linf = ball.norm == "Linf"
    centre = (low + high) / 2 if linf else ball.images
    half = (high - low) / 2 if linf else ball.radius.view(-1, 1, 1, 1).expand_as(low)
    half = half + torch.finfo(half.dtype).eps  # what rounding the centre may take
    pixels = low[0].numel()
    each = torch.eye(pixels, dtype=low.dtype, device=low.device).view(pixels, 1, *low.shape[1:])
    return Zonotope(centre, each * half, torch.zeros_like(low))


def propagate_zonotopes(
    graph: Graph, ball: Ball, symbols: int = SYMBOLS
) -> tuple[Bounds, Zonotope]:
    """Return boxes of all values and the lines that follow, and the logits' zonotope."""
    known = Bounds(graph, ball, {0: ball.box}, {})
    used = pixels = ball.images[0].numel()
    last_use = {parent: number for number, node in enumerate(graph) for parent in node.parents}
    values = {0: of_ball(ball)}
    for number, node in enumerate(graph[1:], start=1):
        parents = [values[parent] for parent in node.parents]
        boxes = [known.boxes[parent] for parent in node.parents]
        if node.relaxed:
            known.lines[number] = lines(node, *boxes[0])
            room = max(0, pixels + symbols - used)
            values[number] = _relaxed(node, parents[0], boxes[0], used, room)
            used = len(values[number].generators)
        else:
            values[number] = _affine(node, parents)
        known.boxes[number] = intersect(step(node, boxes), values[number].box(ball))
        for parent in node.parents:
            if last_use[parent] == number:
                values.pop(parent, None)
    return known, values[len(graph) - 1]


def _affine(node: Node, parents: list[Zonotope]) -> Zonotope:
    most = max(len(parent.generators) for parent in parents)
    rows = [_filled(parent.generators, most).flatten(0, 1) for parent in parents]
    moved = node.linear(*rows)
    return Zonotope(
        node.apply(*(parent.centre for parent in parents)),
        moved.unflatten(0, (most, -1)),
        node.spread(*(parent.radius for parent in parents)),
    )


def _filled(generators: Tensor, count: int) -> Tensor:
    missing = count - len(generators)
    if not missing:
        return generators
    return torch.cat([generators, generators.new_zeros(missing, *generators.shape[1:])])


def _relaxed(node: Node, parent: Zonotope, box: Box, used: int, room: int) -> Zonotope:
    """Return slope * z + a symbol for each open entry, numbered behind those that are in use."""
    band = parallel(node, *box)
    generators = _filled(band.slope * _each(band.pick, parent.generators), used)
    half = (band.high - band.low) / 2
    open_entries = (half > 0).any(0).flatten().nonzero().flatten()
    if len(open_entries) > room:
        largest = half.detach().amax(0).flatten()[open_entries].topk(room).indices
        open_entries = open_entries[largest]
    each = half.new_zeros(len(open_entries), 1, half[0].numel())
    each[torch.arange(len(each), device=half.device), 0, open_entries] = 1
    each = each.unflatten(2, half.shape[1:])
    return Zonotope(
        band.slope * band.pick(parent.centre) + (band.low + band.high) / 2,
        torch.cat([generators, each * half]),
        half * (1 - each.sum(0)) + band.slope.abs() * band.pick(parent.radius),
    )


def _each(pick: Map, generators: Tensor) -> Tensor:
    return pick(generators.flatten(0, 1)).unflatten(0, generators.shape[:2])
