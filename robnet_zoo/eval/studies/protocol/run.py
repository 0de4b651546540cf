"""A protocol run on the weights that exist: published and measured numbers side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robnet_zoo.attacks.registry import get_attack
from robnet_zoo.data import load_split
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.studies.protocol.plan import (
    Folders,
    ProtocolRun,
    datasets,
    plan_cell,
    step_of,
    weights_folders,
)
from robnet_zoo.eval.studies.protocol.table import (
    MeasuredTable,
    Measurement,
    Outcome,
    Plans,
    fill,
)
from robnet_zoo.eval.target import EvalOptions, load_target
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.protocols import CLEAN, Protocol
from robnet_zoo.zoo.weights import Weights, read_weights


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
    outcomes: dict[ProtocolRun, Outcome] = {}
    table = fill(protocol, plans, outcomes)
    keep(table)
    for run, attacks in _attacks_of_runs(plans).items():
        try:
            weights_of_run = read_weights(folders[run.weights])
            record = _evaluate(run, attacks, weights_of_run, options, out, resume)
            outcomes[run] = Measurement(weights_of_run, record)
        except ZooError as error:
            outcomes[run] = str(error)
        table = fill(protocol, plans, outcomes)
        keep(table)
    notes = [
        f"{run.weights} was skipped: {outcome}"
        for run, outcome in outcomes.items()
        if isinstance(outcome, str)
    ]
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
