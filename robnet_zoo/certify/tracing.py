"""The graph of a model, found by running it and held against it at other images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robnet_zoo.certify.graph import ROUNDING, Graph, Model, Node, rounding, run
from robnet_zoo.certify.operations import RULES
from robnet_zoo.certify.traced import Recorder, Traced, nothing
from robnet_zoo.runtime.errors import ZooError


def trace(model: Model, images: Tensor, others: Sequence[Tensor] = ()) -> Graph:
    """Return the graph of a model at images (N, C, H, W) in [0,1].

    Images pass through the model as tensors that write down what is done to them, so that the
    graph is the model's own wiring, whatever the class of the model: networks of the zoo, or a
    supernet with its architecture weights. It is differentiable in whatever the forward pass is,
    such as weights and architecture weights.

    What a tensor cannot see (values changed behind another name, `torch.tensor(x)`, vmap) shows in
    the logits: graph and model must agree at the images, at `others` and at random images.

    Args:
        model: in eval mode, from images to logits.
        images: where to trace it.
        others: more images like them, such as points of a ball around each.

    Raises:
        ZooError: images that are none, a model in training mode, one that does what bounds are
            not known for, or one that is not what its graph is.
    """
    check_images(images)
    recorder = Recorder(RULES)
    given = Node("input", "input", (), images.detach(), nothing, nothing, nothing)
    logits = model(recorder.record(given))
    if not isinstance(logits, Traced) or logits.ndim != 2:
        raise ZooError("The model returns no logits (N, classes) that depend on its input.")
    graph = recorder.graph[: logits.number + 1]
    draws = torch.Generator().manual_seed(0)
    anywhere = torch.rand(images.shape, generator=draws, dtype=images.dtype).to(images.device)
    _compare(graph, model, [images, *others, anywhere])
    return graph


def check_images(images: Tensor) -> None:
    """Raise ZooError unless images are (N, C, H, W) floats in [0,1] of a precision for bounds."""
    if images.ndim != 4 or images.dtype not in ROUNDING:
        raise ZooError(
            f"Images of shape {tuple(images.shape)} and {images.dtype} cannot be certified; give "
            "(N, C, H, W) in float32 or float64."
        )
    if not ((images >= 0) & (images <= 1)).all():
        raise ZooError(
            f"Pixels lie between {images.min().item():.4g} and {images.max().item():.4g}; give "
            "images in [0,1], and put a model's normalisation inside of it."
        )


@torch.no_grad()
def _compare(graph: Graph, model: Model, points: Sequence[Tensor]) -> None:
    """Raise ZooError if a graph's logits are not the model's."""
    expected = torch.cat([model(images) for images in points])
    if not expected.isfinite().all():
        raise ZooError("The model's logits are not finite.")
    apart = (run(graph, torch.cat(list(points))) - expected).abs().amax(1)
    if not (apart <= rounding(expected)).all():
        raise ZooError(
            f"The model's logits differ by {apart.max().item():.2g} from those that its recorded "
            "operations give: it changes values in place behind another name, computes with "
            "copies (torch.tensor, detach, vmap) or draws at random, or rounding is too coarse "
            "for it, where float64 helps."
        )
