"""The table of an ablation: a row a variant, means over its searches."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robnet_zoo.runtime.files import write_json, write_text
from robnet_zoo.runtime.tables import markdown_table
from robnet_zoo.search.ablate.plot import FIGURE, draw_ablation
from robnet_zoo.search.compare.table import RADIUS

RECORD, PAGE = "ablation.json", "table.md"
FORMAT = "robnet_zoo.search.ablation/1"


def write_ablation(
    folder: Path,
    plan: Mapping[str, Any],
    rows: Mapping[str, Sequence[str]],
    comparison: Mapping[str, Any],
    found: Mapping[str, Mapping[str, Any]],
    agreements: Mapping[str, float | None],
    to_first: Mapping[str, float | None],
) -> None:
    """Write ablation.json, table.md and ablation.png.

    Args:
        folder: where they go.
        plan: what was asked.
        rows: the cells of each row, by its name; the first row is what others are held against.
        comparison: the record of all cells.
        found: what each search says of itself, by its cell's name.
        agreements: the proportion of edges that two cells of a row share, on average.
        to_first: the same of a variant's cells and those of the first one with the same seed.
    """
    cells = {name: _figures(entry) for name, entry in comparison["cells"].items()}
    columns = list(next(iter(cells.values())))
    first = next(iter(rows))
    summary = {
        row: {
            column: _summary(
                [cells[name][column] for name in names],
                [cells[name][column] for name in rows[first]],
                same=row == first,
            )
            for column in columns
        }
        for row, names in rows.items()
    }
    record = {
        "format": FORMAT,
        "plan": dict(plan),
        "rows": {
            row: {
                "cells": list(names),
                "agreement": agreements.get(row),
                "agreement_with_first": to_first.get(row),
                "accuracy": summary[row],
            }
            for row, names in rows.items()
        },
        "found": {name: dict(value) for name, value in found.items()},
        "environment": comparison["environment"],
    }
    write_json(folder / RECORD, record)
    attack = comparison["attacks"][-1]
    judged = next(iter(comparison["cells"].values()))["results"][attack]["n"]
    draw_ablation(
        folder / FIGURE,
        {row: [cells[name][attack] for name in names] for row, names in rows.items()},
        {row: each[attack] for row, each in summary.items()},
        attack,
        f"{comparison['settings']['dataset']} test, n = {judged:,}; bars: 95 % intervals of means",
    )
    table = [
        [
            row,
            str(len(names)),
            *(_text(column, summary[row][column]) for column in columns),
            _percent(agreements.get(row)),
            _percent(to_first.get(row)),
        ]
        for row, names in rows.items()
    ]
    caption = (
        "Accuracy in percent, the mean over the cells of a row; in brackets its 95 % interval "
        "by Student's t,\nthen the difference to the first row and the p-value of Welch's test. "
        "Then the edges that two cells of a row share,\nby operation and the states they "
        "join, of all edges, on average over the pairs; and those that a variant's cells share "
        "with\nthe first variant's of the same seed.\n\n"
    )
    write_text(
        folder / PAGE,
        caption
        + markdown_table(
            ["variant", "cells", *columns, "edges shared", "with the first"], table, right=["cells"]
        ),
    )


def _figures(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return a cell's accuracies and mean certified radii by the names of their columns."""
    accuracies = {column: result["accuracy"] for column, result in entry["results"].items()}
    radii = {column: radius["mean"] for column, radius in entry.get("radii", {}).items()}
    return accuracies | radii


def _summary(values: Sequence[float], base: Sequence[float], *, same: bool) -> dict[str, float]:
    """Return mean and interval over searches, and the difference to the base where it is other."""
    from scipy import stats

    summary = {"mean": statistics.fmean(values)}
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values)
        half /= len(values) ** 0.5
        summary |= {"low": summary["mean"] - half, "high": summary["mean"] + half}
    if not same:
        summary["difference"] = summary["mean"] - statistics.fmean(base)
        if len(values) > 1 and len(base) > 1 and (len(set(values)) > 1 or len(set(base)) > 1):
            summary["p_value"] = float(stats.ttest_ind(values, base, equal_var=False).pvalue)
    return summary


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _text(column: str, summary: Mapping[str, float]) -> str:
    scale, places = (1, 4) if column.startswith(RADIUS) else (100, 1)
    scaled = {key: scale * value for key, value in summary.items()}
    if scale == 100:  # Student's interval knows no bounds
        scaled |= {key: min(max(scaled[key], 0), 100) for key in ("low", "high") if key in scaled}
    text = f"{scaled['mean']:.{places}f}"
    if "low" in summary:
        text += f" [{scaled['low']:.{places}f}, {scaled['high']:.{places}f}]"
    if "difference" in summary:
        text += f", {scaled['difference']:+.{places}f}"
    if "p_value" in summary:
        p = summary["p_value"]
        text += " (p < 0.01)" if p < 0.01 else f" (p {p:.2f})"
    return text
