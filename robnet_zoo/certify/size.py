"""Which models are too large for which bounds."""

from __future__ import annotations

from typing import Literal

from robnet_zoo.certify.graph import Graph
from robnet_zoo.certify.zonotope import SYMBOLS
from robnet_zoo.runtime.errors import ZooError

MOST = 4e9  # numbers that bounds may touch for an image: minutes on a CPU core
FEASIBLE = {
    "linear": "8 cells of 4 channels on 8x8 images",
    "zonotope": "20 cells of 8 channels on 8x8 images",
}


def numbers_touched(graph: Graph, method: str) -> float:
    """Return about how many numbers bounds of an image's values touch, by method.

    Linear bounds pull each input of a ReLU or a pool back, twice, and zonotopes carry a number for
    each symbol: the inputs of ReLUs and pools, up to a limit, and the pixels.
    """
    values = sum(node.value[0].numel() for node in graph)
    if method not in ("zonotope", "linear", "optimised"):
        return values
    read = {node.parents[0] for node in graph if node.relaxed}
    unsure = sum(graph[number].value[0].numel() for number in read)
    if method == "zonotope":
        return values * (graph[0].value[0].numel() + min(unsure, SYMBOLS))
    return 2 * values * unsure


def feasible(graph: Graph) -> Literal["linear", "zonotope"]:
    """Return the tighter of two methods that a model is not too large for, or the last."""
    return "linear" if numbers_touched(graph, "linear") <= MOST else "zonotope"


def refuse_large(graph: Graph, method: str) -> None:
    """Raise ZooError if bounds of a model's values would take hours for an image."""
    numbers = numbers_touched(graph, method)
    if numbers > MOST:
        known = "zonotope" if method == "zonotope" else "linear"
        hint = "" if known == "zonotope" else "; method zonotope takes larger ones"
        raise ZooError(
            f"The model is too large to certify: {known} bounds of its values are {numbers:.2g} "
            f"numbers an image ({4 * numbers / 2**30:,.0f} GiB if held at once); up to {MOST:.2g} "
            f"({4 * MOST / 2**30:,.0f} GiB) is feasible, such as {FEASIBLE[known]}{hint}."
        )
