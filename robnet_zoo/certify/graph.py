"""A model as a graph of affine maps, ReLUs and max pools.

`tracing` finds the graph by running the model, `operations` holds what it may be made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from robnet_zoo.runtime.errors import ZooError

Map = Callable[..., Tensor]
Model = Callable[[Tensor], Tensor]
# What rounding may change in a logit, as a part of the spread of an image's logits: between two
# ways of computing the same network, and between a bound and its exact value.
ROUNDING = {torch.float32: 5e-4, torch.float64: 1e-9}


@dataclass(frozen=True, eq=False)
class Node:
    """A value inside the model.

    Attributes:
        name: of the operation, as torch calls it.
        kind: "input" (the images), "affine", "relu" or "max_pool".
        parents: positions of the values it is computed from.
        value: it, at the images themselves (N, ...).
        apply: computes it from the parents, for any number of images.
        linear: of affine nodes, `apply` without its constants.
        spread: of affine nodes, what `apply` does to radii: `linear` with all coefficients made
            positive.
        adjoint: of affine nodes of one parent, (coefficients, shape of the parent) -> its
            coefficients; None to have autograd find it.
        window: of max pools, kernel size, stride and padding, each for both sides.
    """

    name: str
    kind: Literal["input", "affine", "relu", "max_pool"]
    parents: tuple[int, ...]
    value: Tensor
    apply: Map
    linear: Map
    spread: Map
    adjoint: Callable[[Tensor, list[int]], Tensor] | None = None
    window: tuple[Any, ...] = ()

    @property
    def relaxed(self) -> bool:
        """Whether bounds must replace it by something affine."""
        return self.kind in ("relu", "max_pool")


Graph = list[Node]  # in order of computation: the images first, the logits last


@torch.no_grad()
def run(graph: Graph, images: Tensor) -> Tensor:
    """Return the logits (M, classes) that a graph has at other images (M, C, H, W).

    Raises:
        ZooError: an operation does not treat images one by one.
    """
    last_use = {parent: number for number, node in enumerate(graph) for parent in node.parents}
    values = {0: images}
    for number, node in enumerate(graph[1:], start=1):
        parents = [values[parent] for parent in node.parents]
        expected = (len(images), *node.value.shape[1:])
        try:
            value = node.apply(*parents)
        except (RuntimeError, IndexError) as error:
            raise _mixing(node) from error
        if value.shape != expected:
            raise _mixing(node)
        values[number] = value
        for parent in node.parents:
            if last_use[parent] == number:
                values.pop(parent, None)
    return values[len(graph) - 1]


def _mixing(node: Node) -> ZooError:
    return ZooError(
        f"No bounds are known for this '{node.name}': it moves images from the first dimension, "
        "or treats images of a batch differently."
    )


def rounding(logits: Tensor) -> Tensor:
    """Return how much of each image's logits (N, classes) may be rounding (N,).

    A part of their spread, and a few units in the last place of the largest.
    """
    logits = logits.detach()
    spread = logits.amax(1) - logits.amin(1)
    least = 8 * torch.finfo(logits.dtype).eps * logits.abs().amax(1)
    return torch.maximum(ROUNDING[logits.dtype] * spread, least)
