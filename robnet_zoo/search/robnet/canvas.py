"""What the figures of the analysis share: style, points, lines and labels, without a display."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path
from robnet_zoo.search.robnet.analysis import Rows
from robnet_zoo.search.robnet.relation import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Draw = Callable[["Figure", Rows, Findings], None]

INK, GREY = "#3b3f45", "#8a8f98"
COLOURS = ("#0f8a7e", "#d9622b", "#5b63d3")
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "font.size": 10,
    "grid.alpha": 0.18,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def save(draw: Draw, rows: Rows, found: Findings, path: Path, size: tuple[float, float]) -> None:
    """Draw a figure of `size` inches into a PNG file, atomically.

    Raises:
        ZooError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ZooError('Figures need matplotlib; run: pip install "robnet-zoo[search]".') from error
    with rc_context(STYLE), atomic_path(path) as temporary:
        figure = Figure(figsize=size, layout="constrained")
        draw(figure, rows, found)
        figure.savefig(temporary, format="png", dpi=150)


def percent(rows: Rows, name: str) -> list[float]:
    """Return a column of fractions in per cent."""
    return [100 * row[name] for row in rows]


def dots(
    axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str | None = None
) -> None:
    """Draw points, fainter the more there are, so that crowds show."""
    alpha = min(0.85, max(0.3, 60 / max(len(x), 1)))
    axes.scatter(x, y, s=16, color=colour, alpha=alpha, linewidths=0, label=label)


def line(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str) -> None:
    """Draw the least-squares line where there is one."""
    if len(x) >= 3 and np.ptp(x) > 0:
        slope, height = np.polyfit(x, y, 1)
        ends = np.array([min(x), max(x)])
        axes.plot(ends, slope * ends + height, color=colour, linewidth=1.5)


def whole_numbers(axis: Axis) -> None:
    """Put ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def told(found: Findings) -> str:
    """Return both correlation coefficients and their p-values, a line each."""
    if found["pearson"] is None:
        return "no correlation defined"
    return "\n".join(
        f"{name.capitalize()} {found[name]:.2f} (p {_p(found[f'{name}_p'])})"
        for name in ("pearson", "spearman")
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def legend_above(axes: Axes, columns: int = 2) -> None:
    """Put the legend above the plot and its title, with points that are not faint."""
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.legend(handles, labels, loc="lower center", ncols=columns, fontsize=9)
    legend.set_bbox_to_anchor((0.5, 1.07 if axes.get_title() else 1.0))
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
