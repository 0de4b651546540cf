"""A protocol run on the weights that exist: published and measured numbers side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from robnet_zoo.attacks.registry import get_attack
from robnet_zoo.data import Dataset, dataset_info
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.target import EvalOptions, load_target
from robnet_zoo.runtime import files
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import csv_table
from robnet_zoo.threat_models import Epsilon, ThreatModel, get_threat_model
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.protocols import Column, Protocol, Row
from robnet_zoo.zoo.weights import CONFIG, Weights, installed_weights, read_weights

SCHEMA = "robnet_zoo.comparison/1"
NO_WEIGHTS = "no weights"
CLEAN = "clean"  # the column of a table that is under no attack
Folders = Mapping[str, Path]
OWN_DATA = ("{data}", "{data}-mini")  # tags of weights for a table's own data set
STAND_IN = "digits"  # in place of a data set that there are no weights for


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table.

    Attributes:
        column: its column's name.
        published: percent; None where the paper gives none.
        weights: what was judged, empty if nothing was.
        missing: why nothing was.
        attack: as in the record.
        threat_model: what the attacker could do, as text.
        measured: the last iterate's accuracy where it is known, as in the papers.
        differences: of what was done from what the paper did.
        record: file name of the record.
    """

    column: str
    published: float | None
    weights: str = ""
    missing: str = ""
    attack: str = ""
    threat_model: str = ""
    measured: Proportion | None = None
    differences: tuple[str, ...] = ()
    record: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One evaluation: weights by name, the threat model, and a step that is not its own."""

    weights: str
    threat_model: ThreatModel
    step: str | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a cell is measured: by which run and attack; or why it is not."""

    run: Run | None = None
    attack: str = ""
    missing: str = ""


def weights_at_hand(extra: Path | None = None) -> dict[str, Path]:
    """Return name -> folder of installed weights and of those in an extra folder.

    Raises:
        ZooError: the extra folder holds no weights.
    """
    if extra is None:
        return installed_weights()
    found = {path.parent.name: path.parent for path in sorted(extra.glob(f"*.*/{CONFIG}"))}
    if not found:
        raise ZooError(f"'{extra}' holds no weights; name a folder of folders such as racl.digits.")
    return {**installed_weights(), **found}


def plan(protocol: Protocol, row: Row, column: Column, folders: Folders) -> Plan:
    """Return how a cell is measured with the weights at hand, or why it is not."""
    if row.model is None:
        return Plan(missing=row.missing or "")
    variant = "".join(f"-{part}" for part in (row.weights, column.weights) if part)
    tags = [tag.format(data=column.dataset or protocol.dataset) for tag in OWN_DATA]
    tags += [STAND_IN] if column.dataset is None else []
    names = {f"{row.model}.{tag}{variant}": tag for tag in tags}
    name = next((name for name in names if name in folders), None)
    if name is None:
        return Plan(missing=f"{NO_WEIGHTS} {' or '.join(names)}")
    attack = column.attack
    if column.origin is not None:
        source = f"{name}-copy" if column.origin == "copy" else f"{column.origin}.{names[name]}"
        if source not in folders:
            return Plan(missing=f"{NO_WEIGHTS} {source}")
        attack = f"transfer:{_spec(source, folders)}:{attack}"
    threat_model = threat_of(protocol, column, read_weights(folders[name]))
    run = Run(weights=name, threat_model=threat_model, step=column.step)
    return Plan(run=run, attack=attack)


def _spec(name: str, folders: Folders) -> str:
    """Return what `create_model` takes for weights by name."""
    return name if installed_weights().get(name) == folders[name] else f"local-dir:{folders[name]}"


def threat_of(protocol: Protocol, column: Column, weights: Weights) -> ThreatModel:
    """Return the threat model of a cell: the paper's, scaled where another data set stands in."""
    paper = published_threat(protocol, column)
    wanted = column.dataset or protocol.dataset
    if weights.dataset == wanted:
        return paper
    usual, own = get_threat_model(wanted), get_threat_model(weights.dataset)
    if paper == usual:
        return own
    scale = own.epsilon.value / usual.epsilon.value
    if paper.norm == "L2":  # whose balls grow with the number of pixels
        scale *= math.sqrt(_pixels(dataset_info(weights.dataset)) / _pixels(dataset_info(wanted)))
    return own.at(f"{paper.epsilon.value * scale:.4g}", paper.norm)


def published_threat(protocol: Protocol, column: Column) -> ThreatModel:
    """Return what the attacker could do in the paper."""
    usual = get_threat_model(column.dataset or protocol.dataset)
    size = column.epsilon or (usual.epsilon.text if column.dataset else protocol.epsilon)
    norm = column.norm or "Linf"
    if (size, norm) == (usual.epsilon.text, usual.norm):
        return usual
    return usual.at(size, norm)


def _pixels(dataset: Dataset) -> int:
    return dataset.in_channels * dataset.image_size**2


def step_of(step: str, threat_model: ThreatModel) -> Epsilon:
    """Return the length of a step that is written as a part of epsilon, such as "epsilon/10"."""
    divisor = Epsilon.parse(step.removeprefix("epsilon/"), "step").value
    return Epsilon.parse(f"{threat_model.epsilon.value / divisor:.6g}")


def compare(
    protocol: Protocol, folders: Folders, options: EvalOptions, out: Path, *, resume: bool = False
) -> list[tuple[Row, list[Cell]]]:
    """Run a protocol on the weights at hand.

    Args:
        protocol: the table.
        folders: name -> folder of the weights.
        options: what the models are judged on, and how.
        out: folder for the records, one a run.
        resume: take finished records and blocks from there.

    Raises:
        ZooError: there are weights for no cell, or an evaluation is not possible.
    """
    plans = {
        row: [plan(protocol, row, column, folders) for column in protocol.columns]
        for row in protocol.rows
    }
    wanted: dict[Run, list[str]] = {}
    for one in (one for row in plans.values() for one in row):
        if one.run is not None:
            wanted.setdefault(one.run, []).append(one.attack)
    if not wanted:
        reasons = [one.missing for row in plans.values() for one in row]
        first = max(reasons, key=lambda reason: reason.startswith(NO_WEIGHTS))
        raise ZooError(
            f"Protocol {protocol.name} cannot be run, for there are weights for none of its rows "
            f"(the first: {first}); name a folder of weights folders by --weights."
        )
    reports = {
        run: _evaluate(run, attacks, folders, options, out, resume)
        for run, attacks in wanted.items()
    }
    return [
        (
            row,
            [_cell(protocol, row, number, one, reports, folders) for number, one in enumerate(own)],
        )
        for row, own in plans.items()
    ]


def _evaluate(
    run: Run,
    attacks: list[str],
    folders: Folders,
    options: EvalOptions,
    out: Path,
    resume: bool,
) -> EvaluationRecord:
    from robnet_zoo.eval.evaluation import evaluate

    target = load_target(read_weights(folders[run.weights]), options)
    settings = {} if run.step is None else {"step": step_of(run.step, run.threat_model).text}
    return evaluate(
        target.model,
        target.split,
        [get_attack(name, **settings) for name in dict.fromkeys(attacks) if name != CLEAN],
        run.threat_model,
        n=options.n,
        seed=options.seed,
        batch_size=options.batch_size,
        out=out / _file(run),
        resume=resume,
        metadata=target.metadata,
        quiet=False,
    )


def _file(run: Run) -> str:
    words = f"{run.weights} {run.threat_model} {run.step or ''}".strip()
    return re.sub(r"[^A-Za-z0-9._]+", "-", words) + ".json"


def _cell(
    protocol: Protocol,
    row: Row,
    number: int,
    one: Plan,
    reports: Mapping[Run, EvaluationRecord],
    folders: Folders,
) -> Cell:
    column, published = protocol.columns[number], row.published[number]
    if one.run is None:
        return Cell(column=column.name, published=published, missing=one.missing)
    weights, report = read_weights(folders[one.run.weights]), reports[one.run]
    return Cell(
        column=column.name,
        published=published,
        weights=one.run.weights,
        attack=one.attack,
        threat_model=str(one.run.threat_model),
        measured=_accuracy(report, one.attack),
        differences=tuple(_differences(protocol, column, row, weights, report)),
        record=_file(one.run),
    )


def _accuracy(report: EvaluationRecord, attack: str) -> Proportion:
    if attack == CLEAN:
        return report.clean.accuracy
    result = report.attack(attack)
    return result.last or result.robust


def _differences(
    protocol: Protocol,
    column: Column,
    row: Row,
    weights: Weights,
    report: EvaluationRecord,
) -> Iterable[str]:
    """Yield everything that was done otherwise than in the paper."""
    dataset = column.dataset or protocol.dataset
    if report.data.name != dataset:
        yield f"data set {report.data.name} instead of {dataset}"
    if isinstance(protocol.images, int) and report.data.n != protocol.images:
        yield f"{report.data.n:,} images instead of {protocol.images:,}"
    elif report.data.n != report.data.available:
        yield f"{report.data.n:,} images instead of {report.data.available:,}"
    done, paper = report.threat_model, published_threat(protocol, column)
    if column.attack != CLEAN and done.epsilon_value != paper.epsilon.value:
        yield f"epsilon {done.epsilon} instead of {paper.epsilon.text}, steps in proportion"
    architecture = ARCHITECTURES[row.model or ""]
    for size in ("channels", "layers"):
        own, papers = weights.arguments.get(size), architecture.arguments.get(size)
        if own != papers:
            yield f"{own} {size} instead of {papers}"
    if architecture.status == "reconstructed":
        yield "a reconstructed genotype"
    recipe = weights.training.get("recipe", "unknown")
    epochs = weights.training.get("epochs")
    length = f" for {epochs} epochs" if epochs else ""
    yield f"trained by recipe {recipe}{length} instead of {protocol.training}"


def write(protocol: Protocol, table: list[tuple[Row, list[Cell]]], folder: Path) -> None:
    """Write the comparison as NAME.csv and NAME.json."""
    lines = [(row.name, *_flat(cell).values()) for row, cells in table for cell in cells]
    text = csv_table(("row", *_flat(table[0][1][0])), lines)
    files.write_text(folder / f"{protocol.name}.csv", text)
    rows = [{"row": row.name, "cells": to_builtins(cells)} for row, cells in table]
    values = {"schema": SCHEMA, "protocol": _stored(protocol), "rows": rows}
    files.write_json(folder / f"{protocol.name}.json", values)


def _stored(protocol: Protocol) -> dict[str, Any]:
    """Return a protocol as comparisons store it, with null for a number that the paper lacks."""
    keys = ("name", "published", "model", "weights", "missing")
    return {
        **structs.asdict(protocol),
        "columns": [structs.asdict(column) for column in protocol.columns],
        "rows": [{key: getattr(row, key) for key in keys} for row in protocol.rows],
    }


def _flat(cell: Cell) -> dict[str, Any]:
    """Return a cell's values for CSV, its accuracies in percent like the published ones."""
    found, rate = to_builtins(cell), cell.measured
    rates = (rate.accuracy, rate.low, rate.high) if rate else (None, None, None)
    percent = ["" if value is None else f"{100 * value:.2f}" for value in rates]
    return {
        **found,
        **dict(zip(("measured", "low", "high"), percent, strict=True)),
        "n": rate.n if rate else "",
        "differences": "; ".join(cell.differences),
    }
