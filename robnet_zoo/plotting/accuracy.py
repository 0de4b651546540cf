"""Plots of results, drawn without a display: PNG files, or SVG that takes its page's colours."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path
from robnet_zoo.runtime.statistics import Proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#3b3f45"  # text and axes; in a page it becomes the page's own text colour
COLOURS = ("#0f8a7e", "#d9622b", "#5b63d3", "#b8860b", "#c2447f", "#3f8fcf", "#6b8e23", "#8a8f98")
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "figure.dpi": 150,
    "font.size": 10,
    "grid.alpha": 0.18,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}

Points = Sequence[tuple[float, Proportion]]


@contextmanager
def _canvas(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure and its axes; what is drawn in the block has the common style."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ZooError('Plots need matplotlib; run: pip install "robnet-zoo[eval]".') from error
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.add_subplot()


def _percent_axis(axes: Axes) -> None:
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy (%)")


def curves(lines: Mapping[str, Points], xlabel: str) -> Figure:
    """Draw accuracies against a size, each with its confidence interval as a band.

    Args:
        lines: for each name, pairs of a position and an accuracy.
        xlabel: what the positions are.
    """
    from matplotlib.ticker import MaxNLocator

    with _canvas(6.4, 3.8) as (figure, axes):
        for (name, points), colour in zip(lines.items(), _colours(len(lines)), strict=True):
            places = [place for place, _ in points]
            low, high = (
                [100 * getattr(value, end) for _, value in points] for end in ("low", "high")
            )
            axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
            middle = [100 * value.accuracy for _, value in points]
            marker = "o" if len(places) <= 25 else None
            axes.plot(places, middle, color=colour, marker=marker, markersize=3.5, label=name)
        _percent_axis(axes)
        axes.set_xlim(left=0)
        if all(float(place).is_integer() for points in lines.values() for place, _ in points):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.set_xlabel(xlabel)
        axes.legend()
    return figure


def heat_map(
    sources: Sequence[str], targets: Sequence[str], values: Sequence[Sequence[float]]
) -> Figure:
    """Draw accuracies (fractions) of targets (columns) under attacks from sources (rows)."""
    with _canvas(1.8 + 0.95 * len(targets), 1.3 + 0.62 * len(sources)) as (figure, axes):
        axes.grid(visible=False)
        lowest, highest = min(map(min, values)), max(map(max, values))
        middle = lowest + 0.3 * (highest - lowest)
        axes.imshow(values, cmap="GnBu_r", vmin=lowest, vmax=highest, aspect="auto")
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                same = sources[row] == targets[column]
                axes.text(
                    column,
                    row,
                    f"{100 * value:.1f}",
                    ha="center",
                    va="center",
                    color="#000000" if value > middle else "#ffffff",
                    weight="bold" if same else "normal",
                )
        axes.set_xticks(
            range(len(targets)), targets, rotation=30, ha="right", rotation_mode="anchor"
        )
        axes.set_yticks(range(len(sources)), sources)
        axes.set_xlabel("target")
        axes.set_ylabel("source")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def scatter(points: Mapping[str, tuple[int, Proportion]], ylabel: str) -> Figure:
    """Draw accuracies of named networks against their numbers of parameters."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    with _canvas(6.4, 4.2) as (figure, axes):
        for (name, (parameters, value)), colour in zip(
            points.items(), _colours(len(points)), strict=True
        ):
            middle = 100 * value.accuracy
            reach = [[middle - 100 * value.low], [100 * value.high - middle]]
            axes.errorbar(
                parameters,
                middle,
                yerr=reach,
                fmt="o",
                color=colour,
                markersize=6,
                capsize=3,
                alpha=0.9,
            )
            axes.annotate(
                name, (parameters, middle), (7, 5), textcoords="offset points", fontsize=9
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.18, y=0.15)
        axes.set_xlabel("parameters")
        axes.set_ylabel(ylabel)
    return figure


def bars(names: Sequence[str], clean: Sequence[float], robust: Sequence[float]) -> Figure:
    """Draw clean and robust accuracies (fractions) of each class."""
    with _canvas(max(6.4, 0.22 * len(names)), 3.4) as (figure, axes):
        for offset, values, colour, label in (
            (-0.2, clean, COLOURS[7], "clean"),
            (0.2, robust, COLOURS[0], "under every attack"),
        ):
            places = [place + offset for place in range(len(names))]
            axes.bar(
                places, [100 * value for value in values], width=0.38, color=colour, label=label
            )
        crowded = len(names) > 12 or max(map(len, names)) > 6
        turn: dict[str, Any] = (
            {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        )
        axes.set_xticks(range(len(names)), names, **turn)
        axes.grid(visible=False, axis="x")
        _percent_axis(axes)
        axes.set_xlabel("class")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    from matplotlib import rc_context

    with rc_context(STYLE), atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def svg(figure: Figure, salt: str) -> str:
    """Return a figure as an SVG element on a transparent ground, in its page's text colour.

    Args:
        figure: the figure.
        salt: keeps the ids of one figure apart from those of the others on the page.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg class="plot" \1>', element, count=1
    )
    return element.replace(INK, "currentColor")
