"""The search spaces: candidate operations, and which cell stands where in a supernet."""

from __future__ import annotations

from dataclasses import dataclass

from robnet_zoo.genotypes import ROBNET_EDGES, ROBNET_NODES
from robnet_zoo.runtime.errors import ZooError, unknown_name

ARNAS_OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
DARTS_OPERATIONS = ("none", *ARNAS_OPERATIONS)
ROBNET_OPERATIONS = ("sep_conv_3x3", "skip_connect")  # summed in this order, as in RobNet's code 11

NODES, EDGES = ROBNET_NODES, ROBNET_EDGES  # of a cell with all its edges
TARGETS = tuple(node for node in range(NODES) for _ in range(2 + node))  # node an edge enters
SOURCES = tuple(source for node in range(NODES) for source in range(2 + node))  # state it reads


@dataclass(frozen=True)
class Slot:
    """A cell's place in a supernet.

    Attributes:
        role: name of the architecture weights that it follows; cells of one role share them.
        multiple: its width as a multiple of the supernet's channels.
        reduction: whether it halves the image's sides.
    """

    role: str
    multiple: int
    reduction: bool


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        operations: candidates of every edge.
        slots: the supernet's cells, first to last.
        partial: one in so many channels goes through the operations, the others pass by
            (PC-DARTS); 1 for all channels.
    """

    operations: tuple[str, ...]
    slots: tuple[Slot, ...]
    partial: int = 1

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, in the order of their first cells."""
        return tuple(dict.fromkeys(slot.role for slot in self.slots))


def darts_space(layers: int = 8, partial: int = 4) -> Space:
    """Return PC-DARTS's space: 8 operations, normal and reduction cells, widths 1 : 2 : 4.

    Raises:
        ZooError: fewer than three cells.
    """
    slots = tuple(
        Slot("reduce" if reduction else "normal", 2**stage, reduction)
        for stage, reduction in _stages(layers)
    )
    return Space(DARTS_OPERATIONS, slots, partial)


def arnas_space(
    layers: int = 8,
    placement: tuple[str, str, str] = ("accurate", "accurate", "robust"),
    multiples: tuple[int, int, int] = (1, 2, 2),
) -> Space:
    """Return ARNAS's space: 7 operations, and a cell type and a width for each third.

    Args:
        layers: number of cells; reductions stand at one and two thirds of them.
        placement: cell type, "accurate" or "robust", of each third.
        multiples: width of each third, the reduction at its head included.

    Raises:
        ZooError: fewer than three cells, or an unknown cell type.
    """
    for role in placement:
        if role not in ("accurate", "robust"):
            raise unknown_name("cell type", role, ("accurate", "robust"))
    slots = tuple(
        Slot("reduce" if reduction else placement[stage], multiples[stage], reduction)
        for stage, reduction in _stages(layers)
    )
    return Space(ARNAS_OPERATIONS, slots)


def robnet_space(layers: int, shared: bool) -> Space:
    """Return RobNet's space: separable convolution and identity on every edge, widths 1 : 2 : 4.

    Args:
        layers: number of cells, reductions included.
        shared: one code, "cell", for all cells; otherwise "cell0", "cell1"... for each.

    Raises:
        ZooError: fewer than three cells.
    """
    slots = tuple(
        Slot("cell" if shared else f"cell{index}", 2**stage, reduction)
        for index, (stage, reduction) in enumerate(_stages(layers))
    )
    return Space(ROBNET_OPERATIONS, slots)


def _stages(layers: int) -> list[tuple[int, bool]]:
    """Return each cell's third (0 to 2) and whether it is a reduction."""
    if layers < 3:
        raise ZooError(f"layers={layers} is too few; a supernet has at least 3 cells.")
    first, second = layers // 3, 2 * layers // 3
    return [
        ((index >= first) + (index >= second), index in (first, second)) for index in range(layers)
    ]
