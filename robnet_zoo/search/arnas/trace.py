"""The Pareto trace: how a search moves in the plane of natural and adversarial loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robnet_zoo.plotting.style import ALARM, FAINT, canvas, save, wrapped

TRACE = "trace.png"

Rows = Sequence[Mapping[str, Any]]


def efficient(rows: Rows) -> list[int]:
    """Return the rows that no other one beats in both held-out losses."""

    def beaten(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        losses = [(row[name], other[name]) for name in ("natural", "adversarial")]
        return all(o <= r for r, o in losses) and any(o < r for r, o in losses)

    return [
        index for index, row in enumerate(rows) if not any(beaten(row, other) for other in rows)
    ]


def draw_trace(path: Path, rows: Rows, images: int, attack: str) -> None:
    """Draw the losses on the architecture's images, epoch by epoch, into a PNG file.

    Args:
        path: of the picture.
        rows: the search's history.
        images: the losses of an epoch are of so many.
        attack: by which the adversarial loss came about.
    """
    natural, adversarial = ([row[name] for row in rows] for name in ("natural", "adversarial"))
    epochs = [row["epoch"] for row in rows]
    with canvas(5.6, 4.2, layout="constrained") as figure:
        axes = figure.subplots()
        axes.plot(natural, adversarial, color=FAINT, linewidth=1, zorder=1)
        dots = axes.scatter(natural, adversarial, c=epochs, cmap="viridis", s=28, zorder=2)
        best = efficient(rows)
        axes.scatter(
            [natural[i] for i in best],
            [adversarial[i] for i in best],
            s=90,
            facecolors="none",
            edgecolors=ALARM,
            label="beaten by no other epoch",
            zorder=3,
        )
        axes.set(
            xlabel="natural loss, mean of the epoch",
            ylabel="adversarial loss, mean of the epoch",
        )
        axes.set_title(wrapped(f"n = {images:,} an epoch, {attack}", figure), loc="left")
        axes.legend(loc="upper left")
        figure.colorbar(dots, label="epoch")
    save(figure, path)
