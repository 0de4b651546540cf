"""What a comparison of cells leaves: a table, a chart and a record."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.plotting.style import INK
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.files import atomic_path, write_json, write_text
from robnet_zoo.search.compare.certificates import columns, draw, radii

if TYPE_CHECKING:
    from robnet_zoo.eval import EvaluationRecord
    from robnet_zoo.eval.studies.certificate import Certificate
    from robnet_zoo.runtime.statistics import Proportion

FORMAT = "robnet_zoo.search.comparison/1"
EVALUATION = "evaluation.json"  # each cell's own record
TABLE, PAGE, CHART, RECORD = "table.csv", "table.md", "accuracy.png", "comparison.json"
CURVES = "certified.png"
COLOURS = ("#8a97a3", "#0f8a7e", "#d9622b", "#5b63d3", "#b8860b", "#c2447f")


@dataclass(frozen=True)
class Judged:
    """A cell's evaluation, its certificate if one was asked for, and its record of training."""

    report: EvaluationRecord
    certificate: Certificate | None
    training: Mapping[str, Any]

    @property
    def attacked(self) -> dict[str, Proportion]:
        """Clean accuracy, and what each attack leaves."""
        found = {one.name: one.robust for one in self.report.attacks}
        return {"clean": self.report.clean.accuracy} | found

    @property
    def rates(self) -> dict[str, Proportion]:
        """All accuracies of the table, by the names of their columns."""
        return self.attacked | (columns(self.certificate) if self.certificate else {})

    @property
    def radii(self) -> dict[str, tuple[float, float]]:
        """Mean certified radii and their standard errors, by the names of their columns."""
        return radii(self.certificate) if self.certificate else {}

    @property
    def failed_checks(self) -> list[str]:
        """The names of the checks that failed."""
        checks = self.report.checks + (self.certificate.checks if self.certificate else ())
        return [check.name for check in checks if not check.passed]


def write_comparison(folder: Path, cells: Mapping[str, Judged], device: str) -> None:
    """Write table.csv, table.md, accuracy.png and comparison.json, the most robust cell first.

    Where cells were certified, certified.png shows their accuracies against epsilon.

    Args:
        folder: where the files go.
        cells: what was found of each.
        device: what they were trained on.
    """
    cells = dict(sorted(cells.items(), key=lambda item: -item[1].report.totals.robust.accuracy))
    write_text(folder / TABLE, _csv(cells))
    write_text(folder / PAGE, f"{_told(cells)}\n{_markdown(cells)}")
    _draw(folder / CHART, {name: cell.attacked for name, cell in cells.items()})
    certified = {name: cell.certificate for name, cell in cells.items() if cell.certificate}
    if certified:
        draw(folder / CURVES, certified)
    first = next(iter(cells.values()))
    record = {
        "format": FORMAT,
        "settings": {**first.training["settings"], "model": None},
        "attacks": [found.name for found in first.report.attacks],
        "cells": {
            name: {
                "model": to_builtins(cell.report.model),
                "training": {key: cell.training[key] for key in ("best", "seconds", "epochs")},
                "results": {kind: to_builtins(rate) for kind, rate in cell.rates.items()},
                "radii": {
                    kind: {"mean": mean, "standard_error": error}
                    for kind, (mean, error) in cell.radii.items()
                },
                "failed_checks": cell.failed_checks,
                "record": f"{name}/{EVALUATION}",
            }
            for name, cell in cells.items()
        },
        "environment": environment(device),
    }
    write_json(folder / RECORD, record)


def _told(cells: Mapping[str, Judged]) -> str:
    """Return what a reader of the table must know."""
    first = next(iter(cells.values()))
    report, settings = first.report, first.training["settings"]
    text = (
        f"Accuracy on {report.data.n:,} test images of {report.data.name}, "
        f"{report.threat_model.norm} {report.threat_model.epsilon}; in brackets the 95 % "
        "interval. Under PGD an image is\nrobust if no iterate breaks it. All cells: "
        f"{settings['channels']} channels, {settings['layers']} cells, recipe "
        f"{settings['recipe']['name']}, {settings['recipe']['epochs']} epochs, seed "
        f"{settings['seed']}.\n"
    )
    if first.certificate:
        text += (
            f"From 'certified' on: the first {first.certificate.data.n} of the images, their "
            "certified accuracy and what an attack leaves\nat this smaller size, and mean "
            "certified radii with their standard errors.\n"
        )
    return text


def _csv(cells: Mapping[str, Judged]) -> str:
    """Return accuracies as fractions with the ends of their intervals, and mean radii."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    first = next(iter(cells.values()))
    ends = [f"{kind}{end}" for kind in first.rates for end in ("", "_low", "_high")]
    ends += [f"{kind}{end}" for kind in first.radii for end in ("", "_standard_error")]
    rows.writerow(["cell", "genotype", "parameters", "training_seconds", *ends])
    for name, cell in cells.items():
        model, seconds = cell.report.model, cell.training["seconds"]
        values = [v for rate in cell.rates.values() for v in (rate.accuracy, rate.low, rate.high)]
        values += [value for pair in cell.radii.values() for value in pair]
        told = (f"{value:.4f}" for value in values)
        rows.writerow([name, model.genotype_status, model.parameters, seconds, *told])
    return table.getvalue()


def _markdown(cells: Mapping[str, Judged]) -> str:
    first = next(iter(cells.values()))
    kinds = [*first.rates, *first.radii]
    lines = [
        ["cell", "genotype", "parameters", *kinds],
        ["---", "---", *["---:"] * (1 + len(kinds))],
    ]
    for name, cell in cells.items():
        model = cell.report.model
        told = [*map(str, cell.rates.values())]
        told += [f"{mean:.4f} ± {error:.4f}" for mean, error in cell.radii.values()]
        lines.append([name, model.genotype_status, f"{model.parameters:,}", *told])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _draw(path: Path, rates: Mapping[str, Mapping[str, Proportion]]) -> None:
    """Draw a group of bars for each cell, with the 95 % intervals as whiskers."""
    from matplotlib.figure import Figure

    kinds = list(next(iter(rates.values())))
    figure = Figure(figsize=(2.2 + 1.6 * len(rates), 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(kinds)
    for index, kind in enumerate(kinds):
        found = [rate[kind] for rate in rates.values()]
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
