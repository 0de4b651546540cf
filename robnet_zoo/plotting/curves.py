"""The learning curves of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robnet_zoo.plotting.style import MUTED, PALETTE, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELD_OUT = (
    ("raw_clean", "clean", PALETTE[0], ":"),
    ("ema_clean", "clean, average", PALETTE[0], "-"),
    ("raw_robust", "PGD-10", PALETTE[1], ":"),
    ("ema_robust", "PGD-10, average", PALETTE[1], "-"),
)


def learning_curves(rows: Sequence[Mapping[str, Any]], held_out: str) -> Figure:
    """Draw loss, learning rate and held-out accuracies over the epochs of a run's history.

    Args:
        rows: the history.
        held_out: on how many images, under which attack; the title of the accuracies.
    """
    epochs = [row["epoch"] for row in rows]
    with canvas(9, 3.6, layout="constrained") as figure:
        left, right = figure.subplots(1, 2)
        left.plot(epochs, [row["loss"] for row in rows], color=PALETTE[2], marker=".")
        left.set(xlabel="epoch", ylabel="training loss")
        rate = left.twinx()
        rate.plot(epochs, [row["lr"] for row in rows], color=MUTED, linestyle="--")
        rate.set_ylabel("learning rate (dashed)")
        rate.grid(visible=False)
        for column, label, colour, line in HELD_OUT:
            seen = [row for row in rows if row.get(column) is not None]
            if seen:
                values = [100 * row[column] for row in seen]
                at = [row["epoch"] for row in seen]
                right.plot(at, values, line, color=colour, marker=".", label=label)
        right.set(xlabel="epoch", ylabel="held-out accuracy (%)", ylim=(0, 100))
        right.set_title(held_out, loc="left", fontsize=9)
        right.legend(loc="upper left")
    return figure
