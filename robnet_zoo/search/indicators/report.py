"""What a trial of indicators leaves: the values, a record, a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robnet_zoo.plotting.style import INK, MUTED, PALETTE, canvas, save
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.files import write_json, write_text
from robnet_zoo.runtime.tables import csv_table, markdown_table
from robnet_zoo.search.indicators.registry import INDICATORS
from robnet_zoo.search.indicators.statistics import Association, Column

VALUES, RECORD, PAGE, FIGURE = "indicators.csv", "indicators.json", "table.md", "best.png"
FORMAT = "robnet_zoo.search.indicators/1"
BEST = 3  # indicators that are drawn


def write_trial(
    folder: Path,
    columns: Mapping[str, Column],
    target: tuple[str, Column],
    results: Mapping[str, Association],
    facts: Mapping[str, Any],
) -> None:
    """Write indicators.csv, indicators.json, table.md and best.png.

    Args:
        folder: where they go.
        columns: each indicator's values.
        target: name and values of the accuracy, in percent.
        results: how the indicators go with it.
        facts: what else belongs in the record.
    """
    name, values = target
    rows = zip(values, *columns.values(), strict=True)
    lines = [[number, *(f"{value:.8g}" for value in row)] for number, row in enumerate(rows)]
    write_text(folder / VALUES, csv_table(["cell", name, *columns], lines))
    record = {"format": FORMAT, **facts, "target": name, "indicators": to_builtins(dict(results))}
    write_json(folder / RECORD, record)
    write_text(folder / PAGE, table(results))
    draw_best(folder / FIGURE, columns, target, results)


def table(results: Mapping[str, Association]) -> str:
    """Return a line for each indicator, the strongest first."""
    header = ["indicator", "what it is", "tau", "p, all together", "tau beside what is known"]
    ordered = sorted(results.items(), key=lambda item: -abs(item[1].tau))
    lines = [
        [
            f"`{name}`",
            INDICATORS[name].meaning,
            f"{each.tau:+.3f} [{each.low:+.2f}, {each.high:+.2f}]",
            f"{each.p_corrected:.1g}",
            ""
            if each.partial is None
            else f"{each.partial:+.3f} [{each.partial_low:+.2f}, {each.partial_high:+.2f}]",
        ]
        for name, each in ordered
    ]
    return markdown_table(header, lines, right=header[2:])


def draw_best(
    path: Path,
    columns: Mapping[str, Column],
    target: tuple[str, Column],
    results: Mapping[str, Association],
) -> None:
    """Draw the accuracy against the indicators with the largest tau, whatever its sign."""
    best = sorted(results, key=lambda name: -abs(results[name].tau))[:BEST]
    label, values = target
    with canvas(3.4 * len(best), 3.6, layout="constrained") as figure:
        panels = np.atleast_1d(figure.subplots(1, len(best), sharey=True))
        for axes, name, colour in zip(panels, best, PALETTE, strict=False):
            axes.scatter(columns[name], values, s=9, color=colour, alpha=0.6, linewidths=0)
            each = results[name]
            axes.set_title(f"tau {each.tau:+.2f} [{each.low:+.2f}, {each.high:+.2f}]", color=INK)
            axes.set_xlabel(INDICATORS[name].meaning, fontsize=9)
        panels[0].set_ylabel(f"{label.replace('_', ' ')} (%)")
        figure.supxlabel(f"n = {len(values)} cells", fontsize=8, color=MUTED)
    save(figure, path)
