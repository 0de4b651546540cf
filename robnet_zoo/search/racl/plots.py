"""What a RACL search did, drawn: its constraint, and the weights of every edge's operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.plotting.cells import STYLES
from robnet_zoo.plotting.style import ALARM, FAINT, INK, MUTED, PALETTE, canvas, save
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.tables import csv_table
from robnet_zoo.search.core.spaces import EDGES, NODES, SOURCES, TARGETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

CONSTRAINT, WEIGHTS, TABLE = "constraint.png", "operation_weights.png", "operation_weights.csv"
NONE = ("none", FAINT)


def write_weights(
    path: Path, trajectory: Tensor, roles: Sequence[str], operations: Sequence[str]
) -> None:
    """Write the medians of beta alpha as CSV: a row an epoch, a column an operation of an edge.

    Args:
        path: the file.
        trajectory: means of ln(beta alpha) (epochs, roles, edges, operations).
        roles: the cell types.
        operations: the operations' names.
    """
    header = [
        f"{role} {SOURCES[edge]}-{2 + TARGETS[edge]} {operation}"
        for role in roles
        for edge in range(EDGES)
        for operation in operations
    ]
    rows = [
        [epoch, *(f"{value:.5g}" for value in medians)]
        for epoch, medians in enumerate(trajectory.exp().flatten(1).tolist(), start=1)
    ]
    write_text(path, csv_table(["epoch", *header], rows))


def draw_constraint(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    eta: float,
    log_target: float | None,
    held_out: int,
) -> None:
    """Draw mu, sigma, c, theta, Pr[lambda <= lambda*] and held-out accuracy over the epochs.

    Args:
        path: of the picture.
        rows: the search's history.
        eta: the probability that is asked for.
        log_target: ln lambda*, once it is known.
        held_out: images that the accuracy is of.
    """
    titles = {
        "mu": "mu: mean of ln lambda",
        "sigma": "sigma: its standard deviation",
        "c": "c: violation of the constraint",
        "theta": "theta: the multiplier",
        "probability": "Pr[lambda <= lambda*]",
        "held_out_accuracy": f"clean held-out accuracy of the supernet, n = {held_out:,}",
    }
    levels = {
        "mu": (log_target, "ln lambda*"),
        "c": (0.0, "met below"),
        "probability": (eta, "eta"),
    }
    with canvas(12, 5.6, layout="constrained") as figure:
        panels = figure.subplots(2, 3).flatten().tolist()
        for axes, (key, title) in zip(panels, titles.items(), strict=True):
            known = [(row["epoch"], row[key]) for row in rows if row[key] is not None]
            axes.plot(*zip(*known, strict=True) if known else ((), ()), color=PALETTE[0])
            axes.set_title(title, loc="left")
            axes.set_xlim(1, max(2, len(rows)))
            level, label = levels.get(key, (None, ""))
            if level is not None:
                axes.axhline(level, color=ALARM, linewidth=1, linestyle="--", label=label)
                axes.legend(fontsize=9)
        for axes in panels[3:]:
            axes.set_xlabel("epoch")
    save(figure, path)


def draw_weights(
    path: Path, trajectory: Tensor, genotype: CellGenotype, operations: Sequence[str]
) -> None:
    """Draw the medians of beta alpha over the epochs, a small graph an edge.

    Rows are nodes and columns the states that they read; the edges that the genotype keeps have a
    frame, and their operation a thick line.

    Args:
        path: the file.
        trajectory: means of ln(beta alpha) (epochs, roles, edges, operations).
        genotype: what was chosen, with its cells in the order of the roles.
        operations: the operations' names.
    """
    medians = trajectory.exp()
    styles = {name: STYLES.get(name, NONE) for name in operations}
    with canvas(13, 6.2 * len(genotype.cells), layout="constrained") as figure:
        from matplotlib.lines import Line2D

        parts = figure.subfigures(len(genotype.cells), 1, squeeze=False)[:, 0]
        for row, (part, (role, cell)) in enumerate(zip(parts, genotype.cells.items(), strict=True)):
            part.suptitle(f"{role} cell: median of beta alpha over the epochs", size=12)
            grid = part.subplots(NODES, NODES + 1, sharex=True, squeeze=False)
            for unused in grid.flatten():
                unused.set_visible(False)
            chosen = {
                (source, node): name
                for node, edges in enumerate(cell.nodes)
                for name, source in edges
            }
            for edge, (source, node) in enumerate(zip(SOURCES, TARGETS, strict=True)):
                axes = grid[node, source]
                _draw_edge(axes, medians[:, row, edge], styles, chosen.get((source, node)))
                axes.set_title(f"{source} to {2 + node}", size=8, color=MUTED, loc="left")
        handles = [Line2D([], [], color=c, linewidth=3, label=name) for name, c in styles.values()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    save(figure, path)


def _draw_edge(
    axes: Axes, medians: Tensor, styles: Mapping[str, tuple[str, str]], chosen: str | None
) -> None:
    axes.set_visible(True)
    epochs = range(1, len(medians) + 1)
    for values, (name, (_, colour)) in zip(medians.T.tolist(), styles.items(), strict=True):
        axes.plot(epochs, values, color=colour, linewidth=2.6 if name == chosen else 1.1)
    axes.tick_params(labelsize=7)
    for spine in axes.spines.values():
        spine.set(visible=True, color=INK if chosen else FAINT, linewidth=1.4 if chosen else 0.8)
