"""What a comparison of cells leaves: a table, a chart and a record."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.draw import INK
from robnet_zoo.environment import environment
from robnet_zoo.files import atomic_path, write_json, write_text

if TYPE_CHECKING:
    from robnet_zoo.eval import Report
    from robnet_zoo.eval.statistics import Proportion

FORMAT = "robnet_zoo.search.comparison/1"
EVALUATION = "evaluation.json"  # each cell's own record
TABLE, PAGE, CHART, RECORD = "table.csv", "table.md", "accuracy.png", "comparison.json"
COLOURS = ("#8a97a3", "#0f8a7e", "#d9622b", "#5b63d3", "#b8860b", "#c2447f")


def write_comparison(
    folder: Path,
    reports: Mapping[str, Report],
    trained: Mapping[str, Mapping[str, Any]],
    device: str,
) -> None:
    """Write table.csv, table.md, accuracy.png and comparison.json, the most robust cell first.

    Args:
        folder: where the files go.
        reports: each cell's evaluation.
        trained: each cell's record of its training.
        device: what they were trained on.
    """
    order = sorted(reports, key=lambda name: -reports[name].totals.robust.accuracy)
    attacks = [found.name for found in reports[order[0]].attacks]
    rates = {
        name: [reports[name].clean.accuracy, *(found.robust for found in reports[name].attacks)]
        for name in order
    }
    kinds = ["clean", *attacks]
    write_text(folder / TABLE, _csv(kinds, rates, reports, trained))
    first = reports[order[0]]
    settings = trained[order[0]]["settings"]
    told = (
        f"Accuracy on {first.data.n:,} test images of {first.data.name}, "
        f"{first.threat_model.norm} {first.threat_model.epsilon}; in brackets the 95 % interval. "
        "Under PGD an image is\nrobust if no iterate breaks it. All cells: "
        f"{settings['channels']} channels, {settings['layers']} cells, recipe "
        f"{settings['recipe']['name']}, {settings['recipe']['epochs']} epochs, seed "
        f"{settings['seed']}.\n\n"
    )
    write_text(folder / PAGE, told + _markdown(kinds, rates, reports))
    _draw(folder / CHART, rates, kinds)
    record = {
        "format": FORMAT,
        "settings": {**settings, "model": None},
        "attacks": attacks,
        "cells": {
            name: {
                "model": asdict(reports[name].model),
                "training": {key: trained[name][key] for key in ("best", "seconds", "epochs")},
                "results": dict(zip(kinds, map(asdict, rates[name]), strict=True)),
                "failed_checks": [check.name for check in reports[name].checks if not check.passed],
                "record": f"{name}/{EVALUATION}",
            }
            for name in order
        },
        "environment": environment(device),
    }
    write_json(folder / RECORD, record)


def _csv(
    kinds: Sequence[str],
    rates: Mapping[str, Sequence[Proportion]],
    reports: Mapping[str, Report],
    trained: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return the accuracies as fractions, with the ends of their intervals."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    ends = [f"{kind}{end}" for kind in kinds for end in ("", "_low", "_high")]
    rows.writerow(["cell", "genotype", "parameters", "training_seconds", *ends])
    for name, found in rates.items():
        model, seconds = reports[name].model, trained[name]["seconds"]
        values = [f"{v:.4f}" for rate in found for v in (rate.accuracy, rate.low, rate.high)]
        rows.writerow([name, model.genotype_status, model.parameters, seconds, *values])
    return table.getvalue()


def _markdown(
    kinds: Sequence[str],
    rates: Mapping[str, Sequence[Proportion]],
    reports: Mapping[str, Report],
) -> str:
    lines = [
        ["cell", "genotype", "parameters", *kinds],
        ["---", "---", *["---:"] * (1 + len(kinds))],
    ]
    for name, found in rates.items():
        model = reports[name].model
        lines.append([name, model.genotype_status, f"{model.parameters:,}", *map(str, found)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _draw(path: Path, rates: Mapping[str, Sequence[Proportion]], kinds: Sequence[str]) -> None:
    """Draw a group of bars for each cell, with the 95 % intervals as whiskers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 + 1.6 * len(rates), 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(kinds)
    for index, kind in enumerate(kinds):
        found = [rate[index] for rate in rates.values()]
        heights = [100 * rate.accuracy for rate in found]
        reach = [
            [100 * (rate.accuracy - rate.low) for rate in found],
            [100 * (rate.high - rate.accuracy) for rate in found],
        ]
        places = [place + (index - (len(kinds) - 1) / 2) * width for place in range(len(rates))]
        colour = COLOURS[index % len(COLOURS)]
        axes.bar(places, heights, 0.92 * width, color=colour, label=kind)
        axes.errorbar(places, heights, yerr=reach, fmt="none", ecolor=INK, capsize=2, linewidth=1)
    axes.set_xticks(range(len(rates)), list(rates))
    axes.set(ylim=(0, 100), ylabel="accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(kinds), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
