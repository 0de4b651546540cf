"""The log of a run: one CSV row an epoch, and the learning curves drawn from it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robnet_zoo.runtime.files import atomic_path, write_text

HISTORY, CURVES = "history.csv", "curves.png"


def write_history(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the whole log anew, so that it never holds an epoch twice or half a row."""
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    write_text(folder / HISTORY, text.getvalue())


def draw_curves(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw loss, learning rate and held-out accuracies over the epochs into curves.png."""
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["loss"] for row in rows], color="C3", marker=".", label="training loss")
    left.set(xlabel="epoch", ylabel="training loss")
    rate = left.twinx()
    rate.plot(epochs, [row["lr"] for row in rows], color="0.6", linestyle="--", label="lr")
    rate.set_ylabel("learning rate (dashed)", color="0.4")
    for column, label, style in (
        ("raw_clean", "clean", "C0:"),
        ("ema_clean", "clean, average", "C0-"),
        ("raw_robust", "PGD-10", "C1:"),
        ("ema_robust", "PGD-10, average", "C1-"),
    ):
        looked = [row for row in rows if row.get(column) is not None]
        if looked:
            at, values = [row["epoch"] for row in looked], [100 * row[column] for row in looked]
            right.plot(at, values, style, marker=".", label=label)
    right.set(xlabel="epoch", ylabel="held-out accuracy (%)", ylim=(0, 100))
    right.legend(loc="upper left")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    with atomic_path(folder / CURVES) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
