"""A record as text: what was judged, a table of accuracies, and what the checks say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from msgspec import UNSET, UnsetType

from robnet_zoo.eval.record.check import Check, having, summary
from robnet_zoo.eval.record.results import AttackResult, Clean, Draws, Passes, Totals
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo, Settings, ThreatInfo
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import text_table

COLUMNS = ("", "accuracy", "95 % interval", "last iterate", "passes", "time")
LAST = "accuracy: worst of all steps; last iterate: the final step alone, as in papers"
PASSES = "passes: forward/backward, for each image that was attacked"
BOUND = (
    "upper bound: no attack of this run tried several classes in turn; autoattack, or cr for few "
    "passes, usually breaks more"
)
SEVERAL_CLASSES = {"apgd-t", "fab-t", "cr", "autoattack"}  # attacks, or parts of suites


class Row(NamedTuple):
    """A row of the table, and how it stands out."""

    cells: tuple[str, ...]
    style: Literal["", "bold", "dim"] = ""


class Line(NamedTuple):
    """A line below the table, and what kind of line it is."""

    text: str
    kind: Literal["note", "warning", "failure"]


def headings(
    model: ModelInfo, data: DataInfo, threat_model: ThreatInfo, settings: Settings
) -> list[str]:
    """Return what was judged, on what and how; the first line begins with the model's name."""
    sha = model.weights_file_sha256 or model.state_sha256
    genotype = f", genotype {model.genotype_status}" if model.genotype_status else ""
    images = f"{data.n:,} of {data.available:,} images"
    size = f"{threat_model.norm}, epsilon {threat_model.epsilon}, step {threat_model.step}"
    return [
        f"{model.name}  {model.parameters:,} parameters, weights sha256 {sha[:8]}{genotype}",
        f"{data.title}, {images}, seed {settings.seed}",
        f"threat model {threat_model.name}: {size}",
        *([settings.adaptation] if settings.adaptation else []),
    ]


def rows(clean: Clean, attacks: Sequence[AttackResult], totals: Totals) -> list[Row]:
    """Return clean accuracy, that under each attack and its parts, and under all of them."""
    table = [Row(("clean", *_accuracy(clean.accuracy), "", "", "")), *_draws(clean.draws)]
    for result in attacks:
        passes = Passes.over([result], clean.accuracy.correct)
        last = "" if result.last is None else f"{100 * result.last.accuracy:.2f} %"
        cost = str(passes), _seconds(result.seconds)
        table.append(Row((result.full_name, *_accuracy(result.robust), last, *cost)))
        table += _draws(result.draws)
        for part in result.parts:
            broke = f"broke {part.broken:,} of {part.attacked:,}"
            cost = str(part.passes), _seconds(part.seconds)
            table.append(Row((f"  {part.name}", "", broke, "", *cost), "dim"))
        if result.on_source is not None:
            rate = _accuracy(result.on_source)
            table.append(Row(("  on the source", *rate, "", "", ""), "dim"))
    if len(attacks) > 1:
        passes = Passes.over(attacks, clean.accuracy.correct)
        rate, time = _accuracy(totals.robust), _seconds(totals.seconds)
        table.append(Row(("all attacks", *rate, "", str(passes), time), "bold"))
    return table


def closing(
    attacks: Sequence[AttackResult], warnings: Sequence[str], checks: Sequence[Check]
) -> list[Line]:
    """Return the table's legend, the warnings, the checks that failed and how many passed."""
    lines = [Line(LAST, "note")] if any(result.last is not None for result in attacks) else []
    lines += [Line(PASSES, "note")] if attacks else []
    lines += [Line(BOUND, "note")] if attacks and not tries_several_classes(attacks) else []
    lines += [Line(f"warning: {warning}", "warning") for warning in warnings]
    lines += [
        Line(f"check failed: {check.name}: {check.detail}", "failure")
        for check in having(checks, "failed")
    ]
    return [*lines, Line(f"checks: {summary(checks)}", "note")]


def tries_several_classes(attacks: Sequence[AttackResult]) -> bool:
    """Return whether any attack aims at one other class after the other."""
    names = {attack.full_name for attack in attacks}
    names |= {part.name for attack in attacks for part in attack.parts}
    return bool(names & SEVERAL_CLASSES)


def render(headings: Sequence[str], rows: Sequence[Row], closing: Sequence[Line]) -> str:
    """Return all of it as plain text."""
    table = text_table(COLUMNS, [row.cells for row in rows])
    return "\n".join([*headings, table, *(line.text for line in closing)])


def _draws(draws: Draws | UnsetType) -> list[Row]:
    if draws is UNSET:
        return []
    return [Row(("  mean of draws", *_accuracy(draws), "", "", ""), "dim")]


def _accuracy(rate: Proportion | Draws) -> tuple[str, str]:
    return f"{100 * rate.accuracy:.2f} %", f"{100 * rate.low:.1f} - {100 * rate.high:.1f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
