"""What a comparison of cells leaves: tables, charts and a record."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.files import write_json, write_text
from robnet_zoo.runtime.tables import csv_table, markdown_table
from robnet_zoo.search.compare.plots import draw_accuracies, draw_certified

if TYPE_CHECKING:
    from robnet_zoo.eval import EvaluationRecord
    from robnet_zoo.eval.studies.certificate import Certificate, Point
    from robnet_zoo.runtime.statistics import Proportion

FORMAT = "robnet_zoo.search.comparison/1"
EVALUATION, CERTIFICATE = "evaluation.json", "certificate.json"  # each cell's own records
TABLE, PAGE, RECORD = "table.csv", "table.md", "comparison.json"
RADIUS = "radius "  # and the norm: a column of mean certified radii
CHART, CURVES = "accuracy.png", "certified.png"
CERTIFIED_AT = 1 / 4  # of epsilon: where the table has certified accuracy


@dataclass(frozen=True)
class JudgedCell:
    """A cell's evaluation, its certificate if one was asked for, and its record of training."""

    evaluation: EvaluationRecord
    certificate: Certificate | None
    training: Mapping[str, Any]

    @property
    def attacked(self) -> dict[str, Proportion]:
        """Clean accuracy, and what each attack leaves."""
        robust = {attack.full_name: attack.robust for attack in self.evaluation.attacks}
        return {"clean": self.evaluation.clean.accuracy} | robust

    @property
    def accuracies(self) -> dict[str, Proportion]:
        """All accuracies of the table, by the names of their columns.

        The certified accuracy and what an attack leaves, at the same size and of the same images,
        bound a cell's robust accuracy from both sides.
        """
        if self.certificate is None:
            return self.attacked
        point, attack = self._certified_point(self.certificate), self.certificate.settings.attack
        return self.attacked | {
            f"certified {point.epsilon}": point.certified,
            f"{attack} {point.epsilon}": point.attacked,
        }

    @property
    def radii(self) -> dict[str, tuple[float, float]]:
        """Mean certified radii and their standard errors, by the names of their columns."""
        if self.certificate is None:
            return {}
        root = math.sqrt(self.certificate.data.n)
        return {
            f"{RADIUS}{norm}": (radii.mean, statistics.stdev(radii.each) / root)
            for norm, radii in self.certificate.radii.items()
        }

    @property
    def failed_checks(self) -> list[str]:
        """The names of the checks that failed."""
        certified = self.certificate.checks if self.certificate else ()
        return [check.name for check in self.evaluation.checks + certified if not check.passed]

    @staticmethod
    def _certified_point(certificate: Certificate) -> Point:
        size = CERTIFIED_AT * certificate.threat_model.epsilon_value
        return min(certificate.points, key=lambda point: abs(point.epsilon_value - size))


def write_comparison(folder: Path, cells: Mapping[str, JudgedCell], device: str) -> None:
    """Write table.csv, table.md, accuracy.png and comparison.json, the most robust cell first.

    Where cells were certified, certified.png shows their accuracies against epsilon.

    Args:
        folder: where the files go.
        cells: the cells by name.
        device: what they were trained on.
    """
    cells = dict(sorted(cells.items(), key=lambda item: -item[1].evaluation.totals.robust.accuracy))
    write_text(folder / TABLE, _csv(cells))
    write_text(folder / PAGE, f"{_caption(cells)}\n{_markdown(cells)}")
    first = next(iter(cells.values()))
    data, threat = first.evaluation.data, first.evaluation.threat_model
    draw_accuracies(
        folder / CHART,
        {name: cell.attacked for name, cell in cells.items()},
        f"{data.name} {data.split}, {threat.norm} {threat.epsilon}, n = {data.n:,}",
    )
    certified = {name: cell.certificate for name, cell in cells.items() if cell.certificate}
    if certified:
        draw_certified(folder / CURVES, certified)
    record = {
        "format": FORMAT,
        "settings": {**first.training["settings"], "model": None},
        "attacks": [attack.full_name for attack in first.evaluation.attacks],
        "cells": {name: _entry(name, cell) for name, cell in cells.items()},
        "environment": environment(device),
    }
    write_json(folder / RECORD, record)


def _entry(name: str, cell: JudgedCell) -> dict[str, Any]:
    """Return what the record says of a cell."""
    return {
        "model": to_builtins(cell.evaluation.model),
        "training": {key: cell.training[key] for key in ("best", "seconds", "epochs")},
        "results": {column: to_builtins(accuracy) for column, accuracy in cell.accuracies.items()},
        "radii": {
            column: {"mean": mean, "standard_error": error}
            for column, (mean, error) in cell.radii.items()
        },
        "failed_checks": cell.failed_checks,
        "record": f"{name}/{EVALUATION}",
    }


def _caption(cells: Mapping[str, JudgedCell]) -> str:
    """Return what a reader of the table must know."""
    first = next(iter(cells.values()))
    evaluation, settings = first.evaluation, first.training["settings"]
    text = (
        f"Accuracy on {evaluation.data.n:,} test images of {evaluation.data.name}, "
        f"{evaluation.threat_model.norm} {evaluation.threat_model.epsilon}; in brackets the 95 % "
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


def _csv(cells: Mapping[str, JudgedCell]) -> str:
    """Return accuracies as fractions with the ends of their intervals, and mean radii."""
    first = next(iter(cells.values()))
    columns = [f"{name}{end}" for name in first.accuracies for end in ("", "_low", "_high")]
    columns += [f"{name}{end}" for name in first.radii for end in ("", "_standard_error")]
    rows = []
    for name, cell in cells.items():
        model, seconds = cell.evaluation.model, cell.training["seconds"]
        values = [
            value
            for accuracy in cell.accuracies.values()
            for value in (accuracy.accuracy, accuracy.low, accuracy.high)
        ]
        values += [value for pair in cell.radii.values() for value in pair]
        figures = [f"{value:.4f}" for value in values]
        rows.append([name, model.genotype_status, model.parameters, seconds, *figures])
    return csv_table(["cell", "genotype", "parameters", "training_seconds", *columns], rows)


def _markdown(cells: Mapping[str, JudgedCell]) -> str:
    first = next(iter(cells.values()))
    header = ["cell", "genotype", "parameters", *first.accuracies, *first.radii]
    rows = []
    for name, cell in cells.items():
        model = cell.evaluation.model
        figures = [str(accuracy) for accuracy in cell.accuracies.values()]
        figures += [f"{mean:.4f} ± {error:.4f}" for mean, error in cell.radii.values()]
        rows.append([name, model.genotype_status, f"{model.parameters:,}", *figures])
    return markdown_table(header, rows, right=header[2:])
