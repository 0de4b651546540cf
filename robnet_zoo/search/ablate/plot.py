"""The picture of an ablation: each cell a dot, each row its mean with the interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from robnet_zoo.plotting.style import INK, MUTED, PALETTE, canvas, save

FIGURE = "ablation.png"


def draw_ablation(
    path: Path,
    rows: Mapping[str, Sequence[float]],
    summary: Mapping[str, Mapping[str, float]],
    attack: str,
    caption: str,
) -> None:
    """Draw the accuracy of every cell under one attack, by row, from the top down.

    Args:
        path: the picture.
        rows: accuracies of a row's cells, as fractions.
        summary: mean of each row, with the ends of its interval where there are several cells.
        attack: what they are under.
        caption: of the data.
    """
    with canvas(7.5, 1.2 + 0.36 * len(rows), layout="constrained") as figure:
        axes = figure.subplots()
        for place, (row, values) in enumerate(rows.items()):
            each, colour = summary[row], PALETTE[0] if place else PALETTE[1]
            if "low" in each:
                ends = [100 * each["low"], min(100.0, 100 * each["high"])]
                axes.plot(ends, [place] * 2, color=colour, linewidth=2, solid_capstyle="butt")
            axes.scatter(100 * each["mean"], place, color=colour, marker="D", s=36, zorder=3)
            dots = [100 * value for value in values]
            axes.scatter(dots, [place] * len(dots), color=INK, s=10, alpha=0.6, zorder=4)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{attack}: robust accuracy (%); dots are cells")
        figure.supxlabel(caption, fontsize=8, color=MUTED)
    save(figure, path)
