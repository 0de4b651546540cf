"""What a RACL search did, drawn: its constraint, and the weights of every edge's operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.plotting.cells import STYLES, state_name
from robnet_zoo.plotting.style import ALARM, FAINT, INK, MUTED, PALETTE, canvas, save
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.tables import csv_table
from robnet_zoo.search.core.spaces import EDGES, NODES, SOURCES, TARGETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONSTRAINT, WEIGHTS, TABLE = "constraint.png", "operation_weights.png", "operation_weights.csv"
NONE = ("none", FAINT)


def write_weights(
    path: Path, trajectory: Tensor, roles: Sequence[str], operations: Sequence[str]
) -> None:
    """Write ln(beta alpha) as CSV: a row an epoch, mu and sigma of every operation of an edge.

    Edges are named by their states, such as c_{k-2}-0 from the first input to the first node.

    Args:
        path: the file.
        trajectory: means and deviations of ln(beta alpha) (epochs, 2, roles, edges, operations).
        roles: the cell types.
        operations: the operations' names.
    """
    states = [state_name(state).strip("$") for state in range(2 + NODES)]
    header = [
        f"{role} {states[SOURCES[edge]]}-{states[2 + TARGETS[edge]]} {operation} {moment}"
        for moment in ("mu", "sigma")
        for role in roles
        for edge in range(EDGES)
        for operation in operations
    ]
    rows = [
        [epoch, *(f"{value:.5g}" for value in values)]
        for epoch, values in enumerate(trajectory.flatten(1).tolist(), start=1)
    ]
    write_text(path, csv_table(["epoch", *header], rows))


def draw_constraint(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    eta: float,
    log_target: float | None,
    warmup: int,
    held_out: int,
) -> None:
    """Draw mu, sigma, c, theta, Pr[lambda <= lambda*] and held-out accuracy over the epochs.

    Args:
        path: of the picture.
        rows: the search's history.
        eta: the probability that is asked for.
        log_target: ln lambda*, once it is known.
        warmup: epochs in which the weights alone learned.
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
            _mark_warmup(axes, warmup, "warm-up")
            level, label = levels.get(key, (None, ""))
            if level is not None:
                axes.axhline(level, color=ALARM, linewidth=1, linestyle="--", label=label)
                axes.legend(fontsize=9)
        for axes in panels[3:]:
            axes.set_xlabel("epoch")
    save(figure, path)


def draw_weights(
    path: Path,
    trajectory: Tensor,
    genotype: CellGenotype,
    operations: Sequence[str],
    warmup: int,
) -> None:
    """Draw the operations' shares of their node over the epochs, a small graph an edge.

    A share is beta alpha in parts of its sum over the node's edges and operations, at the medians;
    bands are one sigma of ln(beta alpha) wide to either side. Rows are nodes and columns the states
    that they read; edges that the genotype keeps have a frame, and their operation a thick line.

    Args:
        path: the file.
        trajectory: means and deviations of ln(beta alpha) (epochs, 2, roles, edges, operations).
        genotype: what was chosen, with its cells in the order of the roles.
        operations: the operations' names.
        warmup: epochs in which the weights alone learned.
    """
    means, deviations = trajectory.unbind(1)
    sizes = [2 + node for node in range(NODES)]
    shares = torch.cat(
        [part - part.flatten(-2).logsumexp(-1)[..., None, None] for part in means.split(sizes, 2)],
        dim=2,
    )
    styles = {name: STYLES.get(name, NONE) for name in operations}
    limits = (float((shares - deviations).min()), float((shares + deviations).max()))
    # placed by hand: laying out so many panels takes longer than drawing them
    space = {"left": 0.03, "right": 0.99, "bottom": 0.06, "top": 0.9, "hspace": 0.3, "wspace": 0.06}
    with canvas(13, 6.4 * len(genotype.cells) + 0.4) as figure:
        from matplotlib.lines import Line2D

        heights = [*[6.4] * len(genotype.cells), 0.4]
        *parts, foot = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[
            :, 0
        ]
        for row, (part, (role, cell)) in enumerate(zip(parts, genotype.cells.items(), strict=True)):
            part.suptitle(
                f"{role} cell: ln of each operation's share of its node, and sigma; "
                f"epochs 1 to {len(means)}, the warm-up shaded",
                size=12,
            )
            grid = part.subplots(NODES, NODES + 1, squeeze=False, gridspec_kw=space)
            for unused in grid.flatten():
                unused.set_visible(False)
            chosen = {
                (source, node): name
                for node, edges in enumerate(cell.nodes)
                for name, source in edges
            }
            for edge, (source, node) in enumerate(zip(SOURCES, TARGETS, strict=True)):
                axes = grid[node, source]
                # set once for all: panels that share axes measure each other at every line
                axes.set(xlim=(1, max(2, len(means))), ylim=limits)
                axes.autoscale(False)
                axes.tick_params(labelsize=7, labelleft=source == 0, labelbottom=node == NODES - 1)
                _draw_edge(
                    axes,
                    shares[:, row, edge],
                    deviations[:, row, edge],
                    styles,
                    chosen.get((source, node)),
                )
                _mark_warmup(axes, warmup)
                title = f"{state_name(source)} to {state_name(2 + node)}"
                axes.set_title(title, size=9, color=MUTED, loc="left", parse_math=True)
        handles = [Line2D([], [], color=c, linewidth=3, label=name) for name, c in styles.values()]
        foot.legend(handles=handles, loc="center", ncols=len(handles), frameon=False)
    save(figure, path)


def _draw_edge(
    axes: Axes,
    shares: Tensor,
    deviations: Tensor,
    styles: Mapping[str, tuple[str, str]],
    chosen: str | None,
) -> None:
    axes.set_visible(True)
    epochs = range(1, len(shares) + 1)
    for index, (name, (_, colour)) in enumerate(styles.items()):
        middle, sigma = shares[:, index], deviations[:, index]
        axes.plot(epochs, middle.tolist(), color=colour, linewidth=2.6 if name == chosen else 1.1)
        low, high = (middle - sigma).tolist(), (middle + sigma).tolist()
        axes.fill_between(epochs, low, high, color=colour, alpha=0.12, linewidth=0)
    for spine in axes.spines.values():
        spine.set(visible=True, color=INK if chosen else FAINT, linewidth=1.4 if chosen else 0.8)


def _mark_warmup(axes: Axes, warmup: int, label: str | None = None) -> None:
    """Shade the epochs in which the architecture stood still."""
    if warmup:
        axes.axvspan(1, warmup, color=FAINT, alpha=0.35, linewidth=0, zorder=0, label=label)
