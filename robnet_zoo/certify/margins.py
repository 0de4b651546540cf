"""Certified bounds of logits and margins, and certified radii."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from robnet_zoo.certify.ball import Ball, Box
from robnet_zoo.certify.graph import Model, rounding
from robnet_zoo.certify.jacobian import margin_gradients
from robnet_zoo.certify.linear import lower_bound, propagate, refine_by_lines
from robnet_zoo.certify.size import refuse_large
from robnet_zoo.certify.slopes import EACH, optimised_bound
from robnet_zoo.certify.tracing import check_images, trace
from robnet_zoo.certify.zonotope import propagate_zonotopes
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.threat_models import GRADIENT_NORMS, Norm

Method = Literal["interval", "mixed", "zonotope", "linear", "optimised"]
METHODS: tuple[str, ...] = get_args(Method)
# Linear combinations pulled back at once: more take memory and are no faster on a CPU.
ROWS, OPTIMISED_ROWS = 256, 64
BISECTIONS = 5
QUARTERINGS = 8  # of the first radius that is tried, until one is certain


def bounds(
    model: Model,
    images: Tensor,
    epsilon: float | Tensor,
    *,
    norm: Norm = "Linf",
    method: Method = "linear",
) -> Box:
    """Return lower and upper bounds (N, classes) of a model's logits over a ball.

    No perturbation gives a logit outside them; they leave room for rounding, `graph.rounding`.
    They are differentiable in the model's weights, and in a supernet's architecture weights.

    Args:
        model: in eval mode, from images to logits; a supernet goes in as
            `lambda x: supernet(x, weights)`.
        images: (N, C, H, W) in [0,1]; with a model in float64, bounds are computed in that.
        epsilon: the ball's radius, for pixels in [0,1]: one number, or one an image (N,).
        norm: of the ball, which is cut to [0,1].
        method: "interval" propagates boxes: as cheap as two forward passes, and loose. "mixed"
            pulls the logits back through lines that follow from the boxes. "zonotope" lets values
            share symbols, one for each pixel and each ReLU whose sign is open, and pulls the
            logits back through the lines that follow: a forward pass for each symbol. "linear"
            tightens the boxes of the zonotopes by linear bounds: two passes back for every ReLU
            whose sign they leave open. "optimised" chooses the slopes of all lines below ReLUs by
            ascent, for about ten times as much, and is not differentiable. None is looser than
            "interval", nor are the last three than the one before.

    Raises:
        ZooError: unknown norm or method, a negative radius, pixels outside [0,1], a model that
            bounds are not known for, or one too large for linear bounds.
    """

    def each(logits: Tensor) -> Tensor:
        unit = torch.eye(logits.shape[1], dtype=images.dtype, device=images.device)
        rows = unit.unsqueeze(1).expand(-1, len(images), -1)
        return torch.cat([rows, -rows])

    least, room = _least(model, images, epsilon, each, norm, method)
    low, high = least.T.chunk(2, dim=1)
    return low - room[:, None], -high + room[:, None]


def certified_margin(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float | Tensor,
    *,
    norm: Norm = "Linf",
    method: Method = "linear",
) -> Tensor:
    """Return a lower bound (N,) of the label's logit minus the best other one, over a ball.

    Where it is above 0 no perturbation of the ball changes the class. Each difference of two
    logits is bounded as a whole, which is tighter than the difference of their bounds, and the
    room that `graph.rounding` asks for in both logits is taken off. Arguments and errors are those
    of `bounds`; labels are classes (N,).
    """

    def differences(logits: Tensor) -> Tensor:
        return _differences(labels, logits.shape[1]).to(images)

    least, room = _least(model, images, epsilon, differences, norm, method)
    return least.amin(0) - 2 * room


@torch.no_grad()
def certified(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float | Tensor,
    *,
    norm: Norm = "Linf",
    method: Method = "linear",
) -> Tensor:
    """Return whether no perturbation of a ball changes an image's class (N,).

    Zonotopes go first where `method` is slower, which is left to what they do not certify.
    Arguments and errors are those of `certified_margin`.
    """
    given = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device).expand(len(images))
    certain = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    right = model(images).argmax(1) == labels
    cheap: tuple[Method, ...] = ("zonotope",) if method in ("linear", "optimised") else ()
    for each in (*cheap, method):
        left = right & ~certain
        if left.any():
            chosen = images[left], labels[left], given[left]
            certain[left] = certified_margin(model, *chosen, norm=norm, method=each) > 0
    return certain


def certified_radius(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    norm: Norm = "Linf",
    method: Method = "linear",
    bisections: int = BISECTIONS,
    low: Tensor | None = None,
    high: Tensor | None = None,
) -> Tensor:
    """Return for each image (N,) a radius within which its class is certain; 0 if it is wrong.

    The radius tried first is the distance at which the linearised model would err, then a quarter
    of it and so on until one is certain; bisection follows, between it and the last that was not,
    in steps that at most double it. Every radius returned has been certified at that size.

    Args:
        model: as for `bounds`.
        images: (N, C, H, W) in [0,1].
        labels: classes (N,).
        norm: of the ball.
        method: as for `certified`.
        bisections: halvings of the interval, each for the price of a certified margin.
        low: radii (N,) already certified; 0 for none.
        high: radii (N,) above them that are not certain; infinite for none.

    Raises:
        ZooError: as `bounds` does.
    """
    gaps, slopes = margin_gradients(model, images, labels, norm)
    right = (gaps > 0).all(0)
    largest = 1.0 if norm == "Linf" else math.sqrt(images[0].numel())
    distance = (gaps / slopes.clamp(min=1e-12)).amin(0)
    low = torch.zeros_like(distance) if low is None else low.to(distance).clone()
    high = torch.full_like(distance, torch.inf) if high is None else high.to(distance)
    ceiling = torch.maximum((4 * distance).clamp(max=largest), low)
    high = torch.minimum(high, ceiling)
    halvings = torch.where(right, bisections, 0)
    quarterings = torch.where(right & (low == 0), QUARTERINGS, 0)
    while bool((going := (halvings > 0) & ((low > 0) | (quarterings > 0))).any()):
        upward = torch.minimum((low + high) / 2, 2 * low)
        trial = torch.where(low > 0, upward, high / 4)[going]
        chosen = images[going], labels[going]
        certain = certified(model, *chosen, trial, norm=norm, method=method)
        halvings[going] -= (low[going] > 0).to(halvings)
        quarterings[going] -= 1
        low[going], high[going] = (
            torch.where(certain, trial, low[going]),
            torch.where(certain, high[going], trial),
        )
    return low.where(right, torch.zeros_like(low))


def _least(
    model: Model,
    images: Tensor,
    epsilon: float | Tensor,
    combine: Callable[[Tensor], Tensor],
    norm: Norm,
    method: Method,
) -> tuple[Tensor, Tensor]:
    """Return lower bounds (R, N) of combinations of logits, and what rounding may take (N,).

    `combine` returns the combinations (R, N, classes) for logits at the images.
    """
    if norm not in GRADIENT_NORMS:
        raise unknown_name("norm", norm, GRADIENT_NORMS)
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    check_images(images)
    radius = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device)
    if not (radius.isfinite() & (radius >= 0)).all():
        raise ZooError(f"epsilon {epsilon} is out of range; it must be 0 or more.")
    ball = Ball(images, radius.expand(len(images)), norm)
    graph = trace(model, images, ball.sample(torch.Generator().manual_seed(1)))
    refuse_large(graph, method)
    logits, last = graph[-1].value, len(graph) - 1
    coefficients = combine(logits)
    found = []
    if method in ("interval", "mixed"):
        known = propagate(graph, ball)
    else:
        known, zonotope = propagate_zonotopes(graph, ball)
        found.append(zonotope.least(ball, coefficients))
    found.append(lower_bound(known, last, coefficients, by_boxes=True))
    if method != "interval":
        found.append(lower_bound(known, last, coefficients))
    if method in ("linear", "optimised"):
        tighten = partial(refine_by_lines, rows=ROWS)
        known = propagate(graph, ball, tighten, within=known.boxes)
        found.append(lower_bound(known, last, coefficients))
    if method == "optimised":
        each = partial(optimised_bound, steps=EACH)
        tighten = partial(refine_by_lines, rows=OPTIMISED_ROWS, bound=each)
        known = propagate(graph, ball, tighten, within=known.boxes)
        found.append(optimised_bound(known, last, coefficients))
    return torch.stack(found).amax(0), rounding(logits)


def _differences(labels: Tensor, classes: int) -> Tensor:
    """Return the coefficients (classes - 1, N, classes) of label's logit minus each other's."""
    others = torch.arange(1, classes, device=labels.device)[:, None]
    each = torch.eye(classes, device=labels.device)
    return each[labels] - each[(labels + others) % classes]
