"""A record as a table on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.text import COLUMNS
from robnet_zoo.runtime.console import plain_table

STYLES = {"note": "dim", "warning": "yellow", "failure": "red"}


def show(record: EvaluationRecord, console: Console | None = None) -> None:
    """Print what was judged, and clean and robust accuracy with their confidence intervals."""
    console = console or Console()
    first, *others = record.headings
    name = record.model.name
    console.print(Text.assemble((name, "bold"), first.removeprefix(name)), highlight=False)
    for heading in others:
        console.print(Text(heading), highlight=False)
    table = plain_table()
    for column in COLUMNS:
        table.add_column(column, justify="right" if column else "left")
    for row in record.rows:
        table.add_row(*row.cells, style=row.style)
    console.print(table)
    for line in record.closing:
        console.print(Text(line.text, style=STYLES[line.kind]))


def show_path(path: Path, console: Console | None = None) -> None:
    """Print where the record is."""
    (console or Console()).print(f"Record: {path}", highlight=False, soft_wrap=True)
