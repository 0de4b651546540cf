"""Marks that the figures of the analysis have in common: points, lines, labels and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from robnet_zoo.plotting.style import INK
from robnet_zoo.search.robnet.analysis.correlation import Findings
from robnet_zoo.search.robnet.analysis.relations import Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


FEWEST = 10  # points that a line goes through


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
    """Draw the least-squares line, unless the points are too few to have a trend."""
    if len(x) >= FEWEST and np.ptp(x) > 0:
        slope, height = np.polyfit(x, y, 1)
        ends = np.array([min(x), max(x)])
        axes.plot(ends, slope * ends + height, color=colour, linewidth=1.5)


def ring_furthest(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Draw a ring around the point of the largest x."""
    furthest = int(np.argmax(x))
    axes.scatter(x[furthest], y[furthest], s=70, facecolors="none", edgecolors=INK, linewidths=1)


def whole_numbers(axis: Axis) -> None:
    """Put ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def coefficients(findings: Findings) -> str:
    """Return correlation coefficients and their p-values, a line each."""
    if findings["spearman"] is None:
        return "no correlation defined"
    return "\n".join(
        f"{name.capitalize()} {findings[name]:.2f} (p {_p(findings[f'{name}_p'])})"
        for name in ("pearson", "spearman", "kendall")
        if name in findings
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
