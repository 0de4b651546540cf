"""What certificates add to a comparison of cells: columns of its table, and curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.plotting.style import INK
from robnet_zoo.runtime.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from robnet_zoo.eval.studies.certificate import Certificate, Point
    from robnet_zoo.runtime.statistics import Proportion

CERTIFICATE = "certificate.json"  # each cell's own record
SHARE = 1 / 4  # of epsilon: where the table tells certified accuracy
COLOURS = {"clean": "#8a97a3", "certified": "#0f8a7e"}
ATTACKED = "#d9622b"
ACROSS = 3  # panels in a row


def columns(found: Certificate) -> dict[str, Proportion]:
    """Return the accuracies that a certificate adds to the table: certified, and attacked there.

    At the same size and of the same images, they bound a cell's robust accuracy from both sides.
    """
    at = told(found)
    attack = found.settings.attack
    return {f"certified {at.epsilon}": at.certified, f"{attack} {at.epsilon}": at.attacked}


def told(found: Certificate) -> Point:
    """Return the accuracies at the size that the table tells, `SHARE` of epsilon."""
    size = SHARE * found.threat_model.epsilon_value
    return min(found.points, key=lambda at: abs(at.epsilon_value - size))


def radii(found: Certificate) -> dict[str, tuple[float, float]]:
    """Return the mean certified radius, with its standard error."""
    root = math.sqrt(found.data.n)
    return {
        f"radius {norm}": (one.mean, statistics.stdev(one.each) / root)
        for norm, one in found.radii.items()
    }


def draw(path: Path, found: Mapping[str, Certificate]) -> None:
    """Draw clean, attacked and certified accuracy against epsilon, a panel for each cell."""
    from matplotlib.figure import Figure

    rows = math.ceil(len(found) / ACROSS)
    figure = Figure(figsize=(2.7 * ACROSS, 0.8 + 2.3 * rows), layout="constrained")
    panels = list(figure.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False).flat)
    first = next(iter(found.values()))
    for number, (name, one) in enumerate(found.items()):
        axes = panels[number]
        _lines(axes, one)
        axes.set_title(name, fontsize=10, color=INK)
        axes.tick_params(labelbottom=number + ACROSS >= len(found))
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    figure.supxlabel(f"epsilon ({first.threat_model.norm})", fontsize=10)
    figure.supylabel("accuracy (%)", fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _lines(axes: Axes, found: Certificate) -> None:
    """Draw a cell's accuracies; the certified one falls in steps, at each image's radius."""
    for name, points in found.study("").lines.items():
        places = [place for place, _ in points]
        middle = [100 * rate.accuracy for _, rate in points]
        colour = COLOURS.get(name, ATTACKED)
        steps = name == "certified"
        axes.plot(places, middle, color=colour, label=name, ds="steps-pre" if steps else "default")
        if name == "clean":
            continue
        low, high = ([100 * getattr(rate, end) for _, rate in points] for end in ("low", "high"))
        axes.fill_between(
            places,
            low,
            high,
            step="pre" if steps else None,
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
    axes.set(xlim=(0, found.threat_model.epsilon_value), ylim=(0, 102))
    axes.locator_params(axis="x", nbins=4)
    axes.grid(visible=True, color=INK, alpha=0.15)
    axes.spines[["top", "right"]].set_visible(False)
