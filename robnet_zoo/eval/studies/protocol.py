"""A protocol run on the weights that exist: published and measured numbers side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from msgspec import Struct, structs

from robnet_zoo.attacks.registry import get_attack
from robnet_zoo.data import load_split
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.studies.protocol_plan import (
    CellPlan,
    Folders,
    ProtocolRun,
    datasets,
    plan_cell,
    published_threat,
    step_of,
    weights_folders,
)
from robnet_zoo.eval.target import EvalOptions, load_target
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json, write_text
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import csv_table
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.protocols import CLEAN, Column, Protocol, Row
from robnet_zoo.zoo.weights import Weights, read_weights

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


MeasuredTable = list[tuple[Row, list[Cell]]]  # a pair for each row of the protocol
Plans = list[list[CellPlan]]  # a list for each row of the protocol


def run_protocol(
    protocol: Protocol,
    options: EvalOptions,
    out: Path,
    *,
    weights: Path | None = None,
    resume: bool = False,
    keep: Callable[[MeasuredTable], None] = lambda table: None,
) -> tuple[MeasuredTable, tuple[str, ...]]:
    """Run a protocol on the weights and images at hand.

    What cannot be run is skipped: its cells say why.

    Args:
        protocol: the table.
        options: what the models are judged on, and how.
        out: folder for the table and for the records, one a run.
        weights: folder of more weights folders than those installed.
        resume: take finished records and blocks from there.
        keep: called with the table as far as it is known, at the start and after each run.

    Returns:
        The table, and a sentence for everything that was skipped and could be had.

    Raises:
        ZooError: `weights` holds none.
    """
    folders = weights_folders(weights)
    absent = _absent_data(protocol, folders, options)
    plans = [
        [plan_cell(protocol, row, column, folders, absent) for column in protocol.columns]
        for row in protocol.rows
    ]
    records: dict[ProtocolRun, EvaluationRecord] = {}
    failed: dict[ProtocolRun, str] = {}

    table = _table(protocol, plans, records, failed, folders)
    keep(table)
    for run, attacks in _attacks_of_runs(plans).items():
        try:
            known = read_weights(folders[run.weights])
            records[run] = _evaluate(run, attacks, known, options, out, resume)
        except ZooError as error:
            failed[run] = str(error)
        table = _table(protocol, plans, records, failed, folders)
        keep(table)
    notes = [f"{run.weights} was skipped: {why}" for run, why in failed.items()]
    return table, (*absent.values(), *notes)


def _absent_data(protocol: Protocol, folders: Folders, options: EvalOptions) -> dict[str, str]:
    """Return the data sets whose images are not here, and what to do about it."""
    absent = {}
    for name in datasets(protocol, folders):
        try:
            load_split(name, options.split, root=options.data)
        except ZooError as error:
            absent[name] = str(error)
    return absent


def _attacks_of_runs(plans: Plans) -> dict[ProtocolRun, list[str]]:
    """Return the attacks of every evaluation that the cells need."""
    attacks: dict[ProtocolRun, list[str]] = {}
    for plan in (plan for row_plans in plans for plan in row_plans):
        if plan.run is not None:
            attacks.setdefault(plan.run, []).append(plan.attack)
    return attacks


def _table(
    protocol: Protocol,
    plans: Plans,
    records: Mapping[ProtocolRun, EvaluationRecord],
    failed: Mapping[ProtocolRun, str],
    folders: Folders,
) -> MeasuredTable:
    return [
        (
            row,
            [
                _cell(protocol, row, number, plan, records, failed, folders)
                for number, plan in enumerate(row_plans)
            ],
        )
        for row, row_plans in zip(protocol.rows, plans, strict=True)
    ]


def _evaluate(
    run: ProtocolRun,
    attacks: list[str],
    weights: Weights,
    options: EvalOptions,
    out: Path,
    resume: bool,
) -> EvaluationRecord:
    target = load_target(weights, options)
    settings = {} if run.step is None else {"step": step_of(run.step, run.threat_model).text}
    return evaluate(
        target.model,
        target.split,
        [get_attack(name, **settings) for name in dict.fromkeys(attacks) if name != CLEAN],
        run.threat_model,
        n=options.n,
        seed=options.seed,
        batch_size=options.batch_size,
        out=out / run.file,
        resume=resume,
        metadata=target.metadata,
        quiet=False,
    )


def _cell(
    protocol: Protocol,
    row: Row,
    number: int,
    plan: CellPlan,
    records: Mapping[ProtocolRun, EvaluationRecord],
    failed: Mapping[ProtocolRun, str],
    folders: Folders,
) -> Cell:
    column, published = protocol.columns[number], row.published[number]
    if plan.run is None or plan.run not in records:
        missing = plan.missing or failed.get(cast(ProtocolRun, plan.run), NOT_RUN)
        return Cell(column=column.name, published=published, missing=missing)
    weights, record = read_weights(folders[plan.run.weights]), records[plan.run]
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
