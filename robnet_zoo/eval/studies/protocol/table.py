"""A paper's table as it was measured: cells, what each was done otherwise, and its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, structs

from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.studies.protocol.plan import CellPlan, ProtocolRun, published_threat
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.files import write_json, write_text
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import csv_table
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.protocols import CLEAN, Column, Protocol, Row
from robnet_zoo.zoo.weights import Weights

SCHEMA = "robnet_zoo.comparison/1"
NOT_RUN = "not run yet"


class Cell(Struct, frozen=True, kw_only=True):
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


class Measurement(NamedTuple):
    """What was judged, and its record."""

    weights: Weights
    record: EvaluationRecord


MeasuredTable = list[tuple[Row, list[Cell]]]  # a pair for each row of the protocol
Plans = list[list[CellPlan]]  # a list for each row of the protocol
Outcome = Measurement | str  # of a run: what was measured, or why it failed


def fill(
    protocol: Protocol, plans: Plans, outcomes: Mapping[ProtocolRun, Outcome]
) -> MeasuredTable:
    """Return a protocol's table as far as its runs are known."""
    return [
        (
            row,
            [_cell(protocol, row, number, plan, outcomes) for number, plan in enumerate(row_plans)],
        )
        for row, row_plans in zip(protocol.rows, plans, strict=True)
    ]


def _cell(
    protocol: Protocol,
    row: Row,
    number: int,
    plan: CellPlan,
    outcomes: Mapping[ProtocolRun, Outcome],
) -> Cell:
    column, published = protocol.columns[number], row.published[number]
    outcome = plan.missing if plan.run is None else outcomes.get(plan.run, NOT_RUN)
    if plan.run is None or isinstance(outcome, str):
        return Cell(column=column.name, published=published, missing=str(outcome))
    weights, record = outcome
    return Cell(
        column=column.name,
        published=published,
        weights=plan.run.weights,
        attack=plan.attack,
        threat_model=str(plan.run.threat_model),
        measured=_accuracy(record, plan.attack),
        differences=(
            *(f"{name} was passed over, for its images are not here" for name in plan.passed_over),
            *_differences(protocol, column, row, weights, record),
        ),
        record=plan.run.file,
    )


def _accuracy(record: EvaluationRecord, attack: str) -> Proportion:
    if attack == CLEAN:
        return record.clean.accuracy
    result = record.attack(attack)
    return result.last or result.robust


def _differences(
    protocol: Protocol,
    column: Column,
    row: Row,
    weights: Weights,
    record: EvaluationRecord,
) -> Iterable[str]:
    """Yield everything that was done otherwise than in the paper."""
    dataset = column.dataset or protocol.dataset
    if record.data.name != dataset:
        yield f"data set {record.data.name} instead of {dataset}"
    if isinstance(protocol.images, int) and record.data.n != protocol.images:
        yield f"{record.data.n:,} images instead of {protocol.images:,}"
    elif record.data.n != record.data.available:
        yield f"{record.data.n:,} images instead of {record.data.available:,}"
    done, paper = record.threat_model, published_threat(protocol, column)
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


def write(protocol: Protocol, table: MeasuredTable, folder: Path) -> None:
    """Write published and measured numbers as NAME.csv and NAME.json."""
    lines = [(row.name, *_flat(cell).values()) for row, cells in table for cell in cells]
    header = ("row", *_flat(table[0][1][0]))
    write_text(folder / f"{protocol.name}.csv", csv_table(header, lines))
    rows = [{"row": row.name, "cells": to_builtins(cells)} for row, cells in table]
    values = {"schema": SCHEMA, "protocol": _stored(protocol), "rows": rows}
    write_json(folder / f"{protocol.name}.json", values)


def _stored(protocol: Protocol) -> dict[str, Any]:
    """Return a protocol as its record stores it, with null for a number that the paper lacks."""
    keys = ("name", "published", "model", "weights", "missing")
    return {
        **structs.asdict(protocol),
        "columns": [structs.asdict(column) for column in protocol.columns],
        "rows": [{key: getattr(row, key) for key in keys} for row in protocol.rows],
    }


def _flat(cell: Cell) -> dict[str, Any]:
    """Return a cell's values for CSV, its accuracies in percent like the published ones."""
    rate = cell.measured
    rates = (rate.accuracy, rate.low, rate.high) if rate else (None, None, None)
    percent = ["" if value is None else f"{100 * value:.2f}" for value in rates]
    return {
        **structs.asdict(cell),
        **dict(zip(("measured", "low", "high"), percent, strict=True)),
        "n": rate.n if rate else "",
        "differences": "; ".join(cell.differences),
    }
