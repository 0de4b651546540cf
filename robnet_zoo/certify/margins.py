"""Certified bounds of logits and margins, and certified radii."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from robnet_zoo.certify.ball import Ball, Box
from robnet_zoo.certify.graph import Graph, Model, rounding
from robnet_zoo.certify.jacobian import margin_gradients
from robnet_zoo.certify.linear import Bounds, lower_bound, propagate, refine_by_lines
from robnet_zoo.certify.tracing import check_images, trace
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.threat_models import GRADIENT_NORMS, Norm

Method = Literal["interval", "mixed", "linear"]
METHODS: tuple[str, ...] = get_args(Method)
ROWS = 64  # linear combinations pulled back at once: more take memory and are no faster on a CPU
MOST = 4e9  # numbers that linear bounds may touch for an image: minutes on a CPU core
FEASIBLE = "8 cells of 4 channels on 8x8 images"
BISECTIONS = 6


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
            pulls the logits back through lines that follow from the boxes. "linear" tightens the
            boxes by linear bounds first: as tight as it gets here, and two passes for every
            ReLU whose sign the boxes leave open. Neither is looser than "interval".

    Raises:
        ZooError: unknown norm or method, a negative radius, pixels outside [0,1], a model that
            bounds are not known for, or one too large for linear bounds.
    """
    known = _known(model, images, epsilon, norm, method)
    classes = known.graph[-1].value.shape[1]
    each = torch.eye(classes, dtype=images.dtype, device=images.device)
    rows = each.unsqueeze(1).expand(-1, len(images), -1)
    low, high = _lower(known, torch.cat([rows, -rows]), method).T.chunk(2, dim=1)
    room = rounding(known.graph[-1].value)[:, None]
    return low - room, -high + room


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
    known = _known(model, images, epsilon, norm, method)
    logits = known.graph[-1].value
    least = _lower(known, _differences(labels, logits.shape[1]).to(images), method).amin(0)
    return least - 2 * rounding(logits)


def certified_radius(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    norm: Norm = "Linf",
    method: Method = "linear",
    bisections: int = BISECTIONS,
) -> Tensor:
    """Return for each image (N,) a radius within which its class is certain; 0 if it is wrong.

    Bisection between 0 and twice the distance at which the linearised model would err, for the
    largest radius with a certified margin above 0. Every radius returned has been certified; it
    falls short of the largest by 2^-bisections of that interval at most.

    Args:
        model: as for `bounds`.
        images: (N, C, H, W) in [0,1].
        labels: classes (N,).
        norm: of the ball.
        method: as for `bounds`.
        bisections: halvings of the interval, each for the price of a certified margin.

    Raises:
        ZooError: as `bounds` does.
    """
    gaps, slopes = margin_gradients(model, images, labels, norm)
    right = (gaps > 0).all(0)
    distance = (gaps / slopes.clamp(min=1e-12)).amin(0)
    low = torch.zeros_like(distance)
    high = (2 * distance).clamp(max=1.0 if norm == "Linf" else math.sqrt(images[0].numel()))
    for _ in range(bisections if bool(right.any()) else 0):
        middle = ((low + high) / 2).where(right, low)
        with torch.no_grad():
            margin = certified_margin(model, images, labels, middle, norm=norm, method=method)
        certain = margin > 0
        low, high = middle.where(certain, low), high.where(certain, middle)
    return low.where(right, torch.zeros_like(low))


def _known(
    model: Model, images: Tensor, epsilon: float | Tensor, norm: Norm, method: Method
) -> Bounds:
    if norm not in GRADIENT_NORMS:
        raise unknown_name("norm", norm, GRADIENT_NORMS)
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    radius = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device)
    if not (radius.isfinite() & (radius >= 0)).all():
        raise ZooError(f"epsilon {epsilon} is out of range; it must be 0 or more.")
    check_images(images)
    ball = Ball(images, radius.expand(len(images)), norm)
    graph = trace(model, images, ball.sample(torch.Generator().manual_seed(1)))
    if method != "linear":
        return propagate(graph, ball)
    refuse_large(graph)
    return propagate(graph, ball, lambda known, number: refine_by_lines(known, number, ROWS))


def refuse_large(graph: Graph) -> None:
    """Raise ZooError if linear bounds of a model's values would take hours for an image."""
    values = sum(node.value[0].numel() for node in graph)
    read = {node.parents[0] for node in graph if node.relaxed}
    unsure = sum(graph[number].value[0].numel() for number in read)
    numbers = 2 * unsure * values
    if numbers > MOST:
        raise ZooError(
            f"The model is too large to certify: linear bounds of the {unsure:,} inputs of its "
            f"ReLUs and pools by its {values:,} values an image are {numbers:.2g} numbers "
            f"({4 * numbers / 2**30:,.0f} GiB if held at once); up to {MOST:.2g} "
            f"({4 * MOST / 2**30:,.0f} GiB) is feasible, such as {FEASIBLE}."
        )


def _differences(labels: Tensor, classes: int) -> Tensor:
    """Return the coefficients (classes - 1, N, classes) of label's logit minus each other's."""
    others = torch.arange(1, classes, device=labels.device)[:, None]
    each = torch.eye(classes, device=labels.device)
    return each[labels] - each[(labels + others) % classes]


def _lower(known: Bounds, coefficients: Tensor, method: Method) -> Tensor:
    """Return lower bounds (R, N) of combinations (R, N, classes) of the logits."""
    last = len(known.graph) - 1
    by_boxes = lower_bound(known, last, coefficients, by_boxes=True)
    if method == "interval":
        return by_boxes
    return torch.maximum(by_boxes, lower_bound(known, last, coefficients))
