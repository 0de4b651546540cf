"""Draw docs/zoo.svg, the picture that explains the zoo: a cell, verdicts, and how they fall.

python -m scripts.picture
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.data import load_split
from robnet_zoo.eval import record
from robnet_zoo.genotypes import published
from robnet_zoo.plotting.cells import draw_cell, panels
from robnet_zoo.plotting.style import ALARM, FAINT, INK, MUTED, PALETTE, canvas, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "zoo.svg"
CURVES = ROOT / "eval" / "figures" / "epsilon-pgd20-digits-Linf.csv"
NAME, NATURAL, ATTACK = "racl.digits", "racl.digits-natural", "pgd20"
SIDE, ROWS, COLUMNS = 8, 8, 8  # pixels of a digit; digits that are shown
GAP = 1  # pixels between digits
STANDS = PALETTE[0]


def main() -> None:
    argparse.ArgumentParser(prog="python -m scripts.picture", description=__doc__).parse_args()
    with canvas(13.6, 4.3) as figure:
        cell = figure.add_axes((0.005, 0.04, 0.37, 0.74))
        cell.set_axis_off()
        cell.set(xlim=(-0.35, 6.35), ylim=(-0.8, 2.9))
        draw_cell(cell, panels(published("racl"))[0], False)
        _draw_verdicts(figure.add_axes((0.4, 0.04, 0.165, 0.68)), NATURAL, "trained as usual")
        _draw_verdicts(figure.add_axes((0.575, 0.04, 0.165, 0.68)), NAME, "against attacks")
        _draw_curves(figure.add_axes((0.79, 0.14, 0.2, 0.56)))
        for x, words, below in (
            (0.008, "1  A search finds a cell", "a stack of which is the network; this is RACL's"),
            (0.4, "2  Every image gets a verdict", "green: right after 20 steps of PGD, Linf 0.15"),
            (0.765, "3  At every strength", "accuracy on 150 test images, PGD-20"),
        ):
            figure.text(x, 0.96, words, size=14, weight="bold", color=INK, va="top")
            figure.text(x, 0.87, below, size=10, color=MUTED, va="top")
        save(
            figure, PICTURE, crop=False, title="A cell, verdicts of images, and a sweep of epsilon"
        )


def _draw_verdicts(axes: Axes, name: str, words: str) -> None:
    """Draw the first test images, each framed by what became of it under attack."""
    import torch

    evaluation = record.read(ROOT / "eval" / "results" / f"{name}.json")
    flags = evaluation.attack(ATTACK).flags
    _, split = load_split("digits", "test")
    images = split.images(torch.arange(ROWS * COLUMNS))[:, 0]
    pitch = SIDE + 2 * GAP
    for number, image in enumerate(images):
        row, column = divmod(number, COLUMNS)
        x, y = column * pitch, row * pitch
        frame = STANDS if flags[number] else ALARM
        axes.imshow(
            255 - image.numpy(), cmap="gray", vmin=0, vmax=255, extent=(x, x + SIDE, y + SIDE, y)
        )
        axes.plot(
            [x, x + SIDE, x + SIDE, x, x], [y, y, y + SIDE, y + SIDE, y], color=frame, linewidth=1.6
        )
    axes.set(xlim=(-GAP, COLUMNS * pitch - GAP), ylim=(ROWS * pitch - GAP, -GAP))
    axes.set_axis_off()
    standing = evaluation.attack(ATTACK).robust
    axes.set_title(f"{words}: {100 * standing.accuracy:.0f} %", size=9.5, color=INK)


def _draw_curves(axes: Axes) -> None:
    with CURVES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        robust = name == NAME
        axes.plot(
            [float(row["epsilon"]) for row in own],
            [100 * float(row["accuracy"]) for row in own],
            marker="o",
            markersize=3.5,
            color=STANDS if robust else ALARM,
        )
    axes.axvline(0.15, color=FAINT, linestyle=":", zorder=0)
    axes.set(xlabel="epsilon (Linf)", ylabel="accuracy (%)", ylim=(-3, 103))
    axes.text(0.165, 84, "trained\nagainst attacks", size=9, color=STANDS)
    axes.text(0.015, 30, "as usual", size=9, color=ALARM)


if __name__ == "__main__":
    main()
