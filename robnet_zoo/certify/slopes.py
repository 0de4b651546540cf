"""Linear bounds with the slopes below open ReLUs chosen by ascent (Xu et al. 2021, alpha-CROWN).

Below a ReLU of open sign every line y >= a z with 0 <= a <= 1 holds. `relaxation` takes the one
that loses less area; here each combination of logits has slopes of its own, moved along the
gradient of its bound. Whatever they are the bound holds, so the best of all steps is returned.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robnet_zoo.certify.graph import Graph
from robnet_zoo.certify.linear import Bounds, lower_bound

STEPS = 20  # for the logits
EACH = 6  # for the inputs of ReLUs and pools
LR, DECAY = 0.2, 0.9  # of Adam, and what each step leaves of it


def optimised_bound(known: Bounds, start: int, coefficients: Tensor, steps: int = STEPS) -> Tensor:
    """Return lower bounds (R, N) of combinations (R, N, ...) of a value, by optimised slopes.

    Args:
        known: lines of all relaxed nodes before the value.
        start: number of the value.
        coefficients: of the combinations.
        steps: of Adam, each for a pass back and its gradient.
    """
    rows = len(coefficients)
    slopes, opened = {}, {}
    for number in sorted(_ancestors(known.graph, start)):
        node = known.graph[number]
        if node.kind == "relu":
            low, high = known.boxes[node.parents[0]]
            is_open = (low < 0) & (high > 0)
            if is_open.any():
                given = known.lines[number].lower.detach()
                slopes[number] = given.expand(rows, *given.shape).clone().requires_grad_()
                opened[number] = is_open
    best = lower_bound(known, start, coefficients).detach()
    if not slopes:
        return best
    ascent = torch.optim.Adam(slopes.values(), lr=LR, maximize=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(ascent, DECAY)
    for _ in range(steps):
        with torch.enable_grad():
            lines = {
                number: replace(known.lines[number], lower=slope)
                for number, slope in slopes.items()
            }
            moved = replace(known, lines={**known.lines, **lines})
            bound = lower_bound(moved, start, coefficients)
            total = bound.sum()
        best = torch.maximum(best, bound.detach())
        gradients = torch.autograd.grad(total, list(slopes.values()))
        for (number, slope), gradient in zip(slopes.items(), gradients, strict=True):
            slope.grad = gradient * opened[number]
        ascent.step()
        schedule.step()
        with torch.no_grad():
            for slope in slopes.values():
                slope.clamp_(0, 1)
    return best


def _ancestors(graph: Graph, start: int) -> set[int]:
    found, waiting = set[int](), [start]
    while waiting:
        new = set(graph[waiting.pop()].parents) - found
        found |= new
        waiting += new
    return found
