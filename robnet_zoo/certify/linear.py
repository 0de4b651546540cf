"""Bounds of values inside a model, over a ball around each image.

Two ways, which share the walk through the graph:

- interval bounds: every value gets a box from the boxes of its parents;
- linear bounds: a linear combination of values is pulled back through the graph to the images,
  and each ReLU that it meets gives way to the line on the side that its coefficient asks for.

Pulling back needs no matrices: through an affine node it is a vector-Jacobian product, and through
a ReLU a product with a slope. What each ReLU costs is measured at the image itself, so that

    bound = value at the image - price of the lines - radius * dual norm of the coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robnet_zoo.certify.ball import Ball, Box, least_change
from robnet_zoo.certify.graph import Graph, Map, Node
from robnet_zoo.certify.relaxation import Lines, lines


@dataclass
class Bounds:
    """What is known so far: boxes of values and lines of relaxed nodes, by their numbers."""

    graph: Graph
    ball: Ball
    boxes: dict[int, Box]
    lines: dict[int, Lines]


Refine = Callable[[Bounds, int], Box]
Bound = Callable[[Bounds, int, Tensor], Tensor]  # of combinations (R, N, ...) of a value


def propagate(
    graph: Graph, ball: Ball, refine: Refine | None = None, within: Mapping[int, Box] | None = None
) -> Bounds:
    """Return boxes of all values but the last, and the lines that follow from them.

    Args:
        graph: of the model at the ball's images.
        ball: the perturbations.
        refine: tightens the box of a value before a ReLU or a max pool reads it.
        within: boxes of all values that are known to hold.
    """
    known = Bounds(graph, ball, {0: ball.box}, {})
    tight = {0}
    for number, node in enumerate(graph[:-1]):
        if node.relaxed:
            (parent,) = node.parents
            if refine is not None and parent not in tight:
                known.boxes[parent] = refine(known, parent)
                tight.add(parent)
            known.lines[number] = lines(node, *known.boxes[parent])
        if number:
            known.boxes[number] = step(node, [known.boxes[parent] for parent in node.parents])
        if within is not None:
            known.boxes[number] = intersect(known.boxes[number], within[number])
    return known


def step(node: Node, boxes: list[Box]) -> Box:
    """Return the box that a value gets from the boxes of its parents."""
    if node.relaxed:
        ((low, high),) = boxes
        return node.apply(low), node.apply(high)
    centre = node.apply(*((low + high) / 2 for low, high in boxes))
    radius = node.spread(*((high - low) / 2 for low, high in boxes))
    return centre - radius, centre + radius


def intersect(first: Box, second: Box) -> Box:
    """Return what two boxes of one value have in common."""
    return torch.maximum(first[0], second[0]), torch.minimum(first[1], second[1])


def lower_bound(
    known: Bounds, start: int, coefficients: Tensor, *, by_boxes: bool = False
) -> Tensor:
    """Return lower bounds (R, N) of linear combinations of a value.

    Args:
        known: lines of all relaxed nodes before the value, or their boxes.
        start: number of the value.
        coefficients: (R, N, ...), R combinations for each image.
        by_boxes: stop at relaxed nodes and use their boxes, which is cheaper and looser.
    """
    graph = known.graph
    bound = (coefficients * graph[start].value).flatten(2).sum(2)
    waiting = {start: coefficients}
    for number in range(start, -1, -1):
        if number not in waiting:
            continue
        node, given = graph[number], waiting.pop(number)
        if node.kind == "input":
            bound = bound + known.ball.least(given)
        elif node.relaxed and by_boxes:
            bound = bound + least_change(given, known.boxes[number], node.value)
        elif node.relaxed:
            (parent,) = node.parents
            found = known.lines[number]
            above, below = given.clamp(min=0), given.clamp(max=0)
            z = found.pick(graph[parent].value)
            price = above * (found.lower * z - node.value)
            price = price + below * (found.upper * z + found.offset - node.value)
            bound = bound + price.flatten(2).sum(2)
            given = above * found.lower + below * found.upper
            _add(waiting, node.parents, _pull_back(found.pick, [graph[parent].value], given))
        else:
            values = [graph[parent].value for parent in node.parents]
            _add(waiting, node.parents, _pull_back(node.apply, values, given, node.adjoint))
    return bound


def _pull_back(
    apply: Map, values: list[Tensor], coefficients: Tensor, adjoint: Map | None = None
) -> list[Tensor]:
    """Return the coefficients (R, N, ...) of an affine map's arguments for those of its value."""
    rows, given = coefficients.shape[:2], coefficients.flatten(0, 1)
    shapes = [[len(given), *value.shape[1:]] for value in values]
    if adjoint is not None:
        return [adjoint(given, shapes[0]).unflatten(0, rows)]
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        places = [given.new_zeros(shape).requires_grad_() for shape in shapes]
        image = apply(*places)
        found = torch.autograd.grad(image, places, given, create_graph=differentiable)
    return [part.unflatten(0, rows) for part in found]


def _add(waiting: dict[int, Tensor], numbers: tuple[int, ...], parts: list[Tensor]) -> None:
    for number, part in zip(numbers, parts, strict=True):
        waiting[number] = waiting[number] + part if number in waiting else part


def refine_by_lines(known: Bounds, number: int, rows: int, bound: Bound = lower_bound) -> Box:
    """Return a value's box, tightened by linear bounds of each entry that a reader needs tight.

    ReLUs need those whose sign is not known, max pools all of them.

    Args:
        known: lines of all relaxed nodes before the value.
        number: of the value.
        rows: linear combinations to pull back at once.
        bound: how they are bounded.
    """
    low, high = known.boxes[number]
    flat_low, flat_high = low.flatten(1).clone(), high.flatten(1).clone()
    pooled = any(node.kind == "max_pool" and number in node.parents for node in known.graph)
    unsure = ((flat_low < 0) & (flat_high > 0) | pooled).any(0).nonzero().flatten()
    for part in unsure.split(max(1, rows // (2 * len(low)))):
        chosen = torch.zeros(len(part), flat_low.shape[1], dtype=low.dtype, device=low.device)
        chosen[torch.arange(len(part)), part] = 1
        chosen = chosen.unflatten(1, low.shape[1:]).unsqueeze(1).expand(-1, *low.shape)
        least, most = bound(known, number, torch.cat([chosen, -chosen])).chunk(2)
        flat_low[:, part] = torch.maximum(flat_low[:, part], least.T)
        flat_high[:, part] = torch.minimum(flat_high[:, part], -most.T)
    return flat_low.view_as(low), flat_high.view_as(high)
