"""A record as a table on the terminal."""

from __future__ import annotations

from pathlib import Path

from msgspec import UNSET, UnsetType
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robnet_zoo.eval.record import AttackResult, Draws, EvaluationRecord, summary
from robnet_zoo.runtime.statistics import Proportion

LAST = "accuracy: worst of all steps; last iterate: the final step alone, as in papers"


def show(record: EvaluationRecord, console: Console | None = None) -> None:
    """Print what was judged, and clean and robust accuracy with their confidence intervals."""
    console = console or Console()
    for line in _headings(record):
        console.print(line, highlight=False)
    console.print(_table(record))
    if any(result.last is not None for result in record.attacks):
        console.print(Text(LAST, style="dim"))
    for warning in record.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    for check in record.failed_checks:
        console.print(Text(f"check failed: {check.name}: {check.detail}", style="red"))
    console.print(Text(f"checks: {summary(record.checks)}", style="dim"))


def show_path(path: Path, console: Console | None = None) -> None:
    """Print where the record is."""
    (console or Console()).print(f"Record: {path}", highlight=False, soft_wrap=True)


def _headings(record: EvaluationRecord) -> list[Text]:
    model, data, threat = record.model, record.data, record.threat_model
    sha = model.weights_file_sha256 or model.state_sha256
    genotype = f", genotype {model.genotype_status}" if model.genotype_status else ""
    images = f"{data.n:,} of {data.available:,} images"
    step = f"step {threat.step}"
    return [
        Text.assemble(
            (model.name, "bold"),
            f"  {model.parameters:,} parameters, weights sha256 {sha[:8]}{genotype}",
        ),
        Text(f"{data.name} {data.split}".strip() + f", {images}, seed {record.settings.seed}"),
        Text(f"threat model {threat.name}: {threat.norm}, epsilon {threat.epsilon}, {step}"),
        *([Text(adaptation)] if (adaptation := record.settings.adaptation) else []),
    ]


def _table(record: EvaluationRecord) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for heading in ("accuracy", "95 % interval", "last iterate", "time"):
        table.add_column(heading, justify="right")
    table.add_row("clean", *_accuracy(record.clean.accuracy))
    _add_draws(table, record.clean.draws)
    for result in record.attacks:
        table.add_row(
            result.full_name, *_accuracy(result.robust), _last(result), _seconds(result.seconds)
        )
        _add_draws(table, result.draws)
        for part in result.parts:
            broke = f"broke {part.broken:,} of {part.attacked:,}"
            table.add_row(f"  {part.name}", "", broke, "", _seconds(part.seconds), style="dim")
        if result.on_source is not None:
            table.add_row("  on the source itself", *_accuracy(result.on_source), style="dim")
    if len(record.attacks) > 1:
        total = record.totals
        table.add_row(
            "all attacks", *_accuracy(total.robust), "", _seconds(total.seconds), style="bold"
        )
    return table


def _add_draws(table: Table, draws: Draws | UnsetType) -> None:
    if draws is not UNSET:
        table.add_row("  mean of single draws", *_accuracy(draws), style="dim")


def _accuracy(rate: Proportion | Draws) -> tuple[str, str]:
    return f"{100 * rate.accuracy:.2f} %", f"{100 * rate.low:.1f} - {100 * rate.high:.1f}"


def _last(result: AttackResult) -> str:
    return "" if result.last is None else f"{100 * result.last.accuracy:.2f} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
