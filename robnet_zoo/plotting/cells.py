"""Drawings of cells: states on a line from left to right, operations as arcs above it.

Every arc's label sits at its apex, whose place depends on the two states alone, so no two labels
can meet; the grey line below leads the concatenated nodes to the output.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.genotypes import Genotype, Nodes, RobNetGenotype, robnet_nodes
from robnet_zoo.plotting.style import FIELD, INK, MUTED, PAPER, canvas, save
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

ROLES = {"reduce": "reduction cell (edges from the inputs have stride 2)"}
SUFFIXES = (".svg", ".png")
ABSENT = ("none", "00")
# One hue for each family of operations, darker for larger kernels.
STYLES: dict[str, tuple[str, str]] = {
    "sep_conv_3x3": ("sep conv 3x3", "#4a90d9"),
    "sep_conv_5x5": ("sep conv 5x5", "#1f5fa8"),
    "sep_conv_7x7": ("sep conv 7x7", "#123a6b"),
    "dil_conv_3x3": ("dil conv 3x3", "#e08a1e"),
    "dil_conv_5x5": ("dil conv 5x5", "#b35a00"),
    "conv_7x1_1x7": ("conv 1x7 7x1", "#7d4fb3"),
    "avg_pool_3x3": ("avg pool 3x3", "#2a9d6f"),
    "max_pool_3x3": ("max pool 3x3", "#7fb536"),
    "skip_connect": ("skip", "#7a8793"),
    "01": ("sep conv", "#4a90d9"),
    "10": ("identity", "#7a8793"),
    "11": ("conv + id", "#c0392b"),
}
# Lengths in units of the distance between two states.
RISE = 0.62  # of an arc's apex, for each state that it spans
BUS = -0.58  # height of the line that leads to the output
BOX = (0.31, 0.2)  # half the width and height of a state's box


@dataclass(frozen=True)
class Panel:
    """One cell to draw."""

    title: str
    nodes: Nodes
    concat: tuple[int, ...]


def panels(genotype: Genotype) -> list[Panel]:
    """Return every distinct cell of a genotype, in the order of the network."""
    if not isinstance(genotype, RobNetGenotype):
        return [
            Panel(ROLES.get(role, f"{role} cell"), cell.nodes, cell.concat)
            for role, cell in genotype.cells.items()
        ]
    count = len(genotype.cells)
    reductions = (count // 3, 2 * count // 3)
    return [
        Panel(
            "the cell that all layers share"
            if count == 1
            else f"cell {index}" + (" (reduction)" if index in reductions else ""),
            robnet_nodes(code),
            (2, 3, 4, 5),
        )
        for index, code in enumerate(genotype.cells)
    ]


def draw(genotype: Genotype, path: Path, title: str, subtitle: str = "") -> None:
    """Draw every distinct cell of a genotype into an SVG or PNG file, written atomically.

    Raises:
        ZooError: another file type, an unwritable path, or matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ZooError(f"Cannot draw into '{path}'; its name must end in .svg or .png.")
    check_writable(path)
    figure = cell_figure(panels(genotype), title, subtitle)
    save(figure, path, crop=False, title=f"The cells of {title}")


def cell_figure(cells: Sequence[Panel], title: str, subtitle: str) -> Figure:
    """Return the drawing: cells one below the other up to three, small multiples beyond."""
    small = len(cells) > 3
    columns = 4 if small else 1
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    unit, gap = (0.54, 0.35) if small else (1.05, 0.45)  # inches
    head, margin = 1.0, 0.35  # inches: title, both sides
    right = max(len(cell.nodes) for cell in cells) + 2 + BOX[0] + 0.02
    tops = [BOX[1] + RISE * max(map(_span, row)) + 0.6 for row in rows]
    width = unit * (right + BOX[0] + 0.02)
    heights = [unit * (top - BUS + 0.2) for top in tops]
    full_width = columns * (width + gap) - gap + 2 * margin
    operations = {arc.operation for cell in cells for arc in _arcs(cell)}
    entries = int(full_width / 1.5)  # inches that the longest one takes
    foot = 0.4 + 0.24 * math.ceil(len(operations) / entries)
    size = (full_width, head + sum(heights) + gap * (len(rows) - 1) + foot)
    with canvas(*size) as figure:
        left = margin / size[0]
        figure.text(left, 1 - 0.25 / size[1], title, size=16, weight="bold", color=INK, va="top")
        figure.text(left, 1 - 0.58 / size[1], subtitle, size=9.5, color=MUTED, va="top")
        y = size[1] - head
        for row, top, height in zip(rows, tops, heights, strict=True):
            y -= height
            for column, cell in enumerate(row):
                x = margin + column * (width + gap)
                axes = figure.add_axes(
                    (x / size[0], y / size[1], width / size[0], height / size[1])
                )
                axes.set(xlim=(-BOX[0] - 0.02, right), ylim=(BUS - 0.2, top))
                axes.set_axis_off()
                axes.text(-BOX[0], top, cell.title, size=9 if small else 12, color=INK, va="top")
                draw_cell(axes, cell, small)
            y -= gap
        figure.legend(
            handles=_legend(operations),
            loc="lower center",
            ncols=max(1, min(entries, len(operations))),
            frameon=False,
            fontsize=9.5,
            labelcolor=INK,
        )
    return figure


def _legend(operations: Collection[str]) -> list[Line2D]:
    """Return a line for every operation that occurs."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=colour, linewidth=3, label=label)
        for operation, (label, colour) in STYLES.items()
        if operation in operations
    ]


def state_name(state: int) -> str:
    """Return what drawings call a state of a cell: its two inputs, then its nodes from 0 on."""
    return ("$c_{k-2}$", "$c_{k-1}$")[state] if state < 2 else str(state - 2)


@dataclass(frozen=True)
class Arc:
    """One operation: from state to state, leaving and arriving at ports on top of their boxes."""

    operation: str
    source: int
    target: int
    lift: float  # 0, or above it for the second of two edges between the same states

    @property
    def span(self) -> float:
        """How many states it reaches over, which sets the height of its apex."""
        return self.target - self.source + self.lift


def _arcs(cell: Panel) -> list[Arc]:
    arcs: list[Arc] = []
    for target, edges in enumerate(cell.nodes, start=2):
        for operation, source in edges:
            twins = sum((arc.source, arc.target) == (source, target) for arc in arcs)
            if operation not in ABSENT:
                arcs.append(Arc(operation, source, target, 0.55 * twins))
    return arcs


def _span(cell: Panel) -> float:
    return max((arc.span for arc in _arcs(cell)), default=1)


def _ports(arcs: Sequence[Arc]) -> dict[tuple[Arc, str], float]:
    """Place the ends of the arcs on their boxes so that arcs do not cross where they meet a box.

    Arriving arcs take the left ports, the widest rightmost; leaving ones follow, widest first.
    """
    places = {}
    for state in {state for arc in arcs for state in (arc.source, arc.target)}:
        arriving = sorted((a for a in arcs if a.target == state), key=lambda a: a.span)
        leaving = sorted((a for a in arcs if a.source == state), key=lambda a: -a.span)
        ends = [(arc, "in") for arc in arriving] + [(arc, "out") for arc in leaving]
        pitch = min(0.13, 0.52 / len(ends))
        for index, end in enumerate(ends):
            places[end] = state + pitch * (index - (len(ends) - 1) / 2)
    return places


def draw_cell(axes: Axes, cell: Panel, small: bool) -> None:
    """Draw a cell's states and operations; `small` leaves the operations' names out."""
    arcs = _arcs(cell)
    ports = _ports(arcs)
    for arc in arcs:
        _draw_arc(axes, arc, ports[arc, "out"], ports[arc, "in"], small)
    output = 2 + len(cell.nodes)
    _draw_bus(axes, cell, output, small)
    names = [*map(state_name, range(output)), "$c_k$"]
    for state, name in enumerate(names):
        _draw_state(axes, state, name, inner=2 <= state < output, small=small)


def _draw_arc(axes: Axes, arc: Arc, start: float, end: float, small: bool) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    label, colour = STYLES[arc.operation]
    foot = BOX[1]
    control = foot + RISE * arc.span * 4 / 3  # a cubic's apex lies at three quarters of it
    points = [(start, foot), (start, control), (end, control), (end, foot + 0.02)]
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]),
            arrowstyle="-|>",
            mutation_scale=6 if small else 10,
            color=colour,
            linewidth=1.1 if small else 1.8,
            shrinkA=0,
            shrinkB=0,
        )
    )
    if small:
        return
    frame = {"boxstyle": "round,pad=0.22", "facecolor": PAPER, "edgecolor": colour}
    axes.text(
        (start + end) / 2,
        foot + RISE * arc.span,
        label,
        size=7.5,
        color=colour,
        ha="center",
        va="center",
        zorder=5,
        bbox=frame,
    )


def _draw_bus(axes: Axes, cell: Panel, output: int, small: bool) -> None:
    """Draw the line that gathers the concatenated nodes and leads to the output."""
    width = 1.0 if small else 1.6
    line: dict[str, Any] = {"color": MUTED, "linewidth": width, "zorder": 0}
    for state in cell.concat:
        axes.plot([state, state], [0, BUS], **line)
        axes.plot([state], [BUS], "o", markersize=2.2 * width, **line)
    axes.plot([min(cell.concat), output, output], [BUS, BUS, -BOX[1] - 0.1], **line)
    axes.plot([output], [-BOX[1] - 0.07], "^", markersize=3.5 * width, **line)
    if not small:
        axes.text(output - 0.5, BUS - 0.08, "concat", size=7.5, color=MUTED, ha="center", va="top")


def _draw_state(axes: Axes, x: float, name: str, *, inner: bool, small: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch(
            (x - BOX[0], -BOX[1]),
            2 * BOX[0],
            2 * BOX[1],
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=PAPER if inner else FIELD,
            edgecolor=INK,
            linewidth=0.8 if small else 1.2,
            zorder=4,
        )
    )
    axes.text(
        x,
        0,
        name,
        size=7 if small else 11,
        color=INK,
        ha="center",
        va="center",
        zorder=5,
        parse_math=True,
    )
