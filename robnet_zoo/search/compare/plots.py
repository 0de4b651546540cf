"""The charts of a comparison: accuracies of each cell, and certified curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.plotting.style import INK, MUTED, PALETTE, canvas, palette, save, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from robnet_zoo.eval.studies.certificate import Certificate
    from robnet_zoo.runtime.statistics import Proportion

COLOURS = {"clean": MUTED, "certified": PALETTE[0]}
ATTACKED = PALETTE[1]
ACROSS = 3  # panels in a row


def draw_accuracies(
    path: Path, accuracies: Mapping[str, Mapping[str, Proportion]], judged_on: str
) -> None:
    """Draw a group of bars for each cell, with the 95 % intervals as whiskers.

    Args:
        path: of the picture.
        accuracies: clean and under each attack, by cell.
        judged_on: the images, their number and the threat model.
    """
    kinds = list(next(iter(accuracies.values())))
    width = 0.8 / len(kinds)
    with canvas(2.2 + 1.6 * len(accuracies), 3.6, layout="constrained") as figure:
        axes = figure.subplots()
        colours = [MUTED, *palette(len(kinds) - 1)]
        for index, (kind, colour) in enumerate(zip(kinds, colours, strict=True)):
            of_kind = [cell[kind] for cell in accuracies.values()]
            heights = [100 * accuracy.accuracy for accuracy in of_kind]
            whiskers = [
                [100 * (accuracy.accuracy - accuracy.low) for accuracy in of_kind],
                [100 * (accuracy.high - accuracy.accuracy) for accuracy in of_kind],
            ]
            offset = (index - (len(kinds) - 1) / 2) * width
            places = [place + offset for place in range(len(accuracies))]
            axes.bar(places, heights, 0.92 * width, color=colour, label=kind)
            axes.errorbar(
                places, heights, yerr=whiskers, fmt="none", ecolor=INK, capsize=2, linewidth=1
            )
        axes.set_xticks(range(len(accuracies)), list(accuracies))
        axes.grid(visible=False, axis="x")
        axes.set(ylim=(0, 100), ylabel="accuracy (%)")
        axes.set_xlabel(wrapped(judged_on, figure), fontsize=9)
        figure.legend(loc="outside upper center", ncols=len(kinds))
    save(figure, path)


def draw_certified(path: Path, certificates: Mapping[str, Certificate]) -> None:
    """Draw clean, attacked and certified accuracy against epsilon, a panel for each cell."""
    rows = math.ceil(len(certificates) / ACROSS)
    first = next(iter(certificates.values()))
    with canvas(2.7 * ACROSS, 0.8 + 2.3 * rows, layout="constrained") as figure:
        panels = list(figure.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False).flat)
        for number, (name, certificate) in enumerate(certificates.items()):
            axes = panels[number]
            _draw_lines(axes, certificate)
            axes.set_title(name)
            axes.tick_params(labelbottom=number + ACROSS >= len(certificates))
        for axes in panels[len(certificates) :]:
            axes.set_visible(False)
        norm, data = first.threat_model.norm, first.data
        figure.supxlabel(f"epsilon ({norm}); {data.name} {data.split}, n = {data.n:,}", fontsize=10)
        figure.supylabel("accuracy (%)", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    save(figure, path)


def _draw_lines(axes: Axes, certificate: Certificate) -> None:
    """Draw a cell's accuracies; the certified one falls in steps, at each image's radius."""
    for name, points in certificate.plot("").lines.items():
        sizes = [size for size, _ in points]
        middle = [100 * accuracy.accuracy for _, accuracy in points]
        colour = COLOURS.get(name, ATTACKED)
        steps = name == "certified"
        axes.plot(sizes, middle, color=colour, label=name, ds="steps-pre" if steps else "default")
        if name == "clean":
            continue
        low, high = (
            [100 * getattr(accuracy, end) for _, accuracy in points] for end in ("low", "high")
        )
        axes.fill_between(
            sizes,
            low,
            high,
            step="pre" if steps else None,
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
    axes.set(xlim=(0, certificate.threat_model.epsilon_value), ylim=(0, 102))
    axes.locator_params(axis="x", nbins=4)
