"""Accuracies drawn: against a size, of pairs of models, against parameters, and of each class."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robnet_zoo.plotting.style import MUTED, PALETTE, canvas, palette, wrapped
from robnet_zoo.runtime.statistics import Proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, Proportion]]


def _percent_axis(axes: Axes) -> None:
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy (%)")


def curves(
    lines: Mapping[str, Points], xlabel: str, title: str, stepped: Collection[str] = ()
) -> Figure:
    """Draw accuracies against a size, each with its confidence interval as a band.

    Args:
        lines: for each name, pairs of a position and an accuracy.
        xlabel: what the positions are.
        title: the attack, and on how many images of what.
        stepped: names of lines that hold each accuracy from the position before it on.
    """
    from matplotlib.ticker import MaxNLocator

    with canvas(6.4, 3.8) as figure:
        axes = figure.add_subplot()
        for (name, points), colour in zip(lines.items(), palette(len(lines)), strict=True):
            places = [place for place, _ in points]
            low, high = (
                [100 * getattr(value, end) for _, value in points] for end in ("low", "high")
            )
            steps = name in stepped
            axes.fill_between(
                places,
                low,
                high,
                step="pre" if steps else None,
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            middle = [100 * value.accuracy for _, value in points]
            axes.plot(
                places,
                middle,
                color=colour,
                marker=None if steps or len(places) > 25 else "o",
                markersize=3.5,
                drawstyle="steps-pre" if steps else "default",
                label=name,
            )
        _percent_axis(axes)
        axes.set_xlim(left=0)
        if all(float(place).is_integer() for points in lines.values() for place, _ in points):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.set_xlabel(xlabel)
        axes.set_title(wrapped(title, figure), loc="left")
        axes.legend()
    return figure


def against_cost(lines: Mapping[str, Points], xlabel: str, title: str) -> Figure:
    """Draw accuracies against a cost on a logarithmic axis, the end of each line marked.

    Only the lower part is shown, up to the highest of the ends, with some room above it.

    Args:
        lines: for each name, pairs of a cost above 0 and an accuracy.
        xlabel: what the cost is.
        title: on how many images of what.
    """
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    ends = [100 * points[-1][1].accuracy for points in lines.values()]
    room = max(1.0, max(ends) - min(ends))
    highest = max(ends) + 0.6 * room
    seen = [point for points in lines.values() for point in points]
    least = min(cost for cost, value in seen if 100 * value.accuracy <= highest)
    with canvas(6.4, 3.8) as figure:
        axes = figure.add_subplot()
        for (name, points), colour in zip(lines.items(), palette(len(lines)), strict=True):
            places = [place for place, _ in points]
            heights = [100 * value.accuracy for _, value in points]
            every = range(len(points)) if len(points) <= 10 else [len(points) - 1]
            axes.plot(
                places,
                heights,
                color=colour,
                marker="o",
                markersize=4.5,
                markevery=list(every),
                label=name,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(min(ends) - 0.15 * room, highest)
        axes.set_xlim(left=0.7 * least)
        axes.set_ylabel("accuracy (%)")
        axes.set_xlabel(xlabel)
        axes.set_title(wrapped(title, figure), loc="left")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def heat_map(
    sources: Sequence[str],
    targets: Sequence[str],
    values: Sequence[Sequence[float]],
    title: str,
) -> Figure:
    """Draw accuracies (fractions) of targets (columns) under attacks from sources (rows)."""
    with canvas(1.8 + 0.95 * len(targets), 1.3 + 0.62 * len(sources)) as figure:
        axes = figure.add_subplot()
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
        axes.set_title(wrapped(title, figure), loc="left")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def scatter(points: Mapping[str, tuple[int, Proportion]], ylabel: str, title: str) -> Figure:
    """Draw accuracies of named networks against their numbers of parameters."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    with canvas(6.4, 4.2) as figure:
        axes = figure.add_subplot()
        for (name, (parameters, value)), colour in zip(
            points.items(), palette(len(points)), strict=True
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
        axes.set_title(wrapped(title, figure), loc="left")
    return figure


def bars(
    names: Sequence[str], clean: Sequence[float], robust: Sequence[float], title: str
) -> Figure:
    """Draw clean and robust accuracies (fractions) of each class."""
    with canvas(max(6.4, 0.22 * len(names)), 3.4) as figure:
        axes = figure.add_subplot()
        for offset, values, colour, label in (
            (-0.2, clean, MUTED, "clean"),
            (0.2, robust, PALETTE[0], "under every attack"),
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
        axes.set_title(wrapped(title, figure), loc="left", pad=26)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2)
    return figure
