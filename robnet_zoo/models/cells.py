"""The cell that RobNet and the two-edge architectures share: states, edges, sums, concatenation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor, fx, nn

from robnet_zoo.genotypes import (
    CellGenotype,
    Genotype,
    Nodes,
    RobNetGenotype,
    robnet_nodes,
)
from robnet_zoo.models.fast.grouped import edge_outputs, terms, total
from robnet_zoo.models.layers import concat
from robnet_zoo.models.operations import OPERATIONS, FactorizedReduce, ReluConvBn
from robnet_zoo.runtime.errors import ZooError

ABSENT = ("none", "00")
fx.wrap("concat")  # a step of its own in torch.fx graphs, where the device is not known


@dataclass(frozen=True)
class CellPlan:
    """One cell of a network before its width is known.

    Attributes:
        nodes: the incoming edges of each intermediate node.
        concat: the states that make up the output.
        multiple: the cell's width as a multiple of the network's `channels`.
        reduction: whether the cell halves the image's sides.
        affine: whether its batch norms have weights.
    """

    nodes: Nodes
    concat: tuple[int, ...]
    multiple: int
    reduction: bool
    affine: bool


def plan_cells(genotype: Genotype, layers: int) -> list[CellPlan]:
    """Lay out a network's cells: reductions at one and two thirds of the depth.

    Widths grow 1 : 2 : 4 over the thirds, in ARNAS 1 : 2 : 2. ARNAS's robust cells stand behind
    the second reduction, its accurate cells before it.

    Raises:
        ZooError: fewer than three layers, or another number than the RobNet codes are made for.
    """
    if layers < 3:
        raise ZooError(f"layers={layers} is too few; a network has at least 3 cells.")
    first, second = layers // 3, 2 * layers // 3
    plans = []
    for index in range(layers):
        stage = (index >= first) + (index >= second)
        reduction = index in (first, second)
        if isinstance(genotype, RobNetGenotype):
            nodes = robnet_nodes(_code(genotype, index, layers))
            plans.append(CellPlan(nodes, (2, 3, 4, 5), 2**stage, reduction, affine=False))
            continue
        three_roles = "robust" in genotype.cells
        cell = genotype.cells[_role(genotype, stage, reduction)]
        multiple = (1, 2, 2)[stage] if three_roles else 2**stage
        plans.append(CellPlan(cell.nodes, cell.concat, multiple, reduction, affine=True))
    return plans


def _code(genotype: RobNetGenotype, index: int, layers: int) -> tuple[str, ...]:
    count = len(genotype.cells)
    if count not in (1, layers):
        raise ZooError(
            f"layers={layers} does not fit '{genotype.name}', which has a code for each of its "
            f"{count} cells; use layers={count}."
        )
    return genotype.cells[index % count]


def _role(genotype: CellGenotype, stage: int, reduction: bool) -> str:
    if reduction:
        return "reduce"
    if "normal" in genotype.cells:
        return "normal"
    return "robust" if stage == 2 else "accurate"


class CellBlock(nn.Module):
    """A cell: (last output but one, last output) -> (N, width * len(concat), H', W').

    Each node adds its edges in order; edges from the two inputs carry the cell's stride.
    `reduce_first` says that the older input is twice as large as the newer one.

    Attributes:
        reduction: whether the cell halves the image's sides.
        channels: of its output.
        grouped: whether separable convolutions that read one state run as one; None for what
            suits the device.
    """

    grouped: bool | None = None

    def __init__(
        self, plan: CellPlan, older: int, newer: int, width: int, *, reduce_first: bool
    ) -> None:
        super().__init__()
        preprocess = FactorizedReduce if reduce_first else ReluConvBn
        self.preprocess0 = preprocess(older, width, plan.affine)
        self.preprocess1 = ReluConvBn(newer, width, plan.affine)
        self._ops = nn.ModuleDict()
        self.reduction, self.concat = plan.reduction, plan.concat
        self.channels = width * len(plan.concat)
        self.wiring: list[list[tuple[str, int]]] = []  # per node: the edge's key, its source
        number = itertools.count()
        for edges in plan.nodes:
            numbered = [(str(next(number)), operation, source) for operation, source in edges]
            # Absent edges add nothing; a node that has no others keeps one, for its size.
            present = [edge for edge in numbered if edge[1] not in ABSENT] or numbered[:1]
            for key, operation, source in present:
                stride = 2 if plan.reduction and source < 2 else 1
                self._ops[key] = OPERATIONS[operation](width, stride, plan.affine)
            self.wiring.append([(key, source) for key, _, source in present])

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        """Return the cell's output for the outputs of the two cells before it."""
        states = [self.preprocess0(older), self.preprocess1(newer)]
        outputs = self._edge_outputs(states[0], 0) | self._edge_outputs(states[1], 1)
        for edges in self.wiring:
            states.append(total(outputs[key] for key, _ in edges))
            outputs |= self._edge_outputs(states[-1], len(states) - 1)
        return concat([states[i] for i in self.concat])

    def _edge_outputs(self, state: Tensor, number: int) -> dict[str, Tensor]:
        """Return what each edge that reads a state gives."""
        edges = {
            key: terms(self._ops[key])
            for edges in self.wiring
            for key, source in edges
            if source == number
        }
        return edge_outputs(state, edges, self.grouped)
