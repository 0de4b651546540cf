"""Sizes, and counts of operations, in both cells together and in each of them."""

from __future__ import annotations

from collections.abc import Callable

from robnet_zoo.genotypes import Nodes
from robnet_zoo.search.indicators.candidate import Candidate
from robnet_zoo.search.indicators.registry import indicator

ROBNET = "RobNet, section 3.3"
ARNAS = "ARNAS, section 3"
KINDS: dict[str, tuple[Callable[[str], bool], str, str]] = {
    "convolutions": (lambda name: "conv_" in name, "convolutions", ROBNET),
    "separable": (lambda name: name.startswith("sep_"), "separable convolutions", ARNAS),
    "dilated": (lambda name: name.startswith("dil_"), "dilated convolutions", ARNAS),
    "kernels_3": (lambda name: name.endswith("conv_3x3"), "convolutions with 3x3 kernels", ARNAS),
    "kernels_5": (lambda name: name.endswith("conv_5x5"), "convolutions with 5x5 kernels", ARNAS),
    "pools": (lambda name: "_pool_" in name, "pools", ARNAS),
    "average_pools": (lambda name: name.startswith("avg_"), "average pools", ARNAS),
    "max_pools": (lambda name: name.startswith("max_"), "max pools", ARNAS),
    "skips": (lambda name: name == "skip_connect", "skip connections", ARNAS),
}


def _register(kind: str) -> None:
    """Register the counts of a kind: of both cells, and of each."""
    wanted, words, source = KINDS[kind]

    def count(nodes: Nodes) -> float:
        return sum(wanted(operation) for operation, _, _ in entering(nodes))

    def normal(candidate: Candidate) -> float:
        return candidate.mean(count, reduction=False)

    def reduction(candidate: Candidate) -> float:
        return candidate.mean(count, reduction=True)

    def both(candidate: Candidate) -> float:
        return candidate.both(count)

    for suffix, where, measure in (
        ("", "in both cells", both),
        ("_normal", "in the normal cell", normal),
        ("_reduction", "in the reduction cell", reduction),
    ):
        indicator(kind + suffix, stage="cell", meaning=f"{words} {where}", source=source)(measure)


for _kind in KINDS:
    _register(_kind)


@indicator("parameters", stage="cell", meaning="trainable parameters")
def parameters(candidate: Candidate) -> float:
    """Return the number of parameters of the network."""
    from robnet_zoo.models.count import count_parameters

    return count_parameters(candidate.skeleton)


@indicator("macs", stage="cell", meaning="multiply-accumulates of one image's logits")
def macs(candidate: Candidate) -> float:
    """Return the multiply-accumulates of one image's logits."""
    from robnet_zoo.models.count import count_macs

    side = candidate.image_size
    return count_macs(candidate.skeleton, (candidate.in_channels, side, side))


@indicator(
    "direct_convolutions",
    stage="cell",
    meaning="convolutions on edges from a state to the next one, in both cells",
    source=ROBNET,
)
def direct_convolutions(candidate: Candidate) -> float:
    """Return the number of convolutions on direct edges (RobNet, section 3.3)."""
    return _on_edges(candidate, direct=True)


@indicator(
    "skip_edge_convolutions",
    stage="cell",
    meaning="convolutions on all other edges, in both cells",
    source=ROBNET,
)
def skip_edge_convolutions(candidate: Candidate) -> float:
    """Return the number of convolutions on edges that pass over a state."""
    return _on_edges(candidate, direct=False)


def _on_edges(candidate: Candidate, *, direct: bool) -> float:
    def count(nodes: Nodes) -> float:
        return sum(
            "conv_" in operation and (source == state - 1) == direct
            for operation, source, state in entering(nodes)
        )

    return candidate.both(count)


def entering(nodes: Nodes) -> list[tuple[str, int, int]]:
    """Return a cell's edges as operation, state that it reads and state that it enters."""
    return [
        (operation, source, 2 + number)
        for number, edges in enumerate(nodes)
        for operation, source in edges
    ]
