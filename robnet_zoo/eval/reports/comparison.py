"""A comparison of two records as a table on the terminal, as JSON and as CSV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from robnet_zoo.eval.studies.comparison import Comparison, Row
from robnet_zoo.runtime import files
from robnet_zoo.runtime.console import plain_table
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.tables import csv_table

MEANING = "A only, B only: images right for one alone; p: McNemar's exact test"
COLUMNS = (
    *("attack", "first", "second", "n", "first_accuracy", "second_accuracy", "difference"),
    *("low", "high", "p_value", "only_first", "only_second"),
    *("images_only_first", "images_only_second"),
)


def show(comparison: Comparison, *, images: bool = False, console: Console | None = None) -> None:
    """Print the table and the notes; with `images`, which images differ too."""
    console = console or Console()
    console.print(Text.assemble(("A ", "bold"), comparison.first))
    console.print(Text.assemble(("B ", "bold"), comparison.second))
    console.print(f"{comparison.n:,} images, the same for both", highlight=False)
    show_rows(comparison.rows, images=images, console=console)
    for note in comparison.notes:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def show_rows(rows: Iterable[Row], *, images: bool, console: Console) -> None:
    """Print a line for each row, and what the columns mean."""
    table = plain_table()
    table.add_column("")
    for heading in ("A", "B", "A - B", "95 % interval", "A only", "B only", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = list(rows)
    for row in rows:
        paired = row.paired
        table.add_row(
            row.name,
            f"{100 * row.first.accuracy:.2f} %",
            f"{100 * row.second.accuracy:.2f} %",
            f"{100 * paired.difference:+.2f}",
            f"{100 * paired.low:+.1f} to {100 * paired.high:+.1f}",
            str(paired.only_first),
            str(paired.only_second),
            f"{paired.p_value:.2g}",
        )
    console.print(table)
    console.print(Text(MEANING, style="dim"))
    for row in rows if images else ():
        for side, positions in (("A", row.only_first), ("B", row.only_second)):
            listed = ", ".join(map(str, positions)) or "none"
            console.print(Text(f"{row.name}, {side} only: {listed}"), soft_wrap=True)


def write(comparison: Comparison, path: Path) -> None:
    """Write a comparison as JSON or as CSV, by the path's ending.

    Raises:
        ZooError: another ending.
    """
    validate_ending(path)
    if path.suffix == ".json":
        files.write_json(path, to_builtins(comparison))
    else:
        files.write_text(
            path, csv_table(COLUMNS, [_cells(comparison, row) for row in comparison.rows])
        )


def validate_ending(path: Path) -> None:
    """Raise ZooError unless a path ends in .json or .csv."""
    if path.suffix not in (".json", ".csv"):
        raise ZooError(f"Cannot write '{path}': its name must end in .json or .csv.")


def _cells(comparison: Comparison, row: Row) -> list[object]:
    paired = row.paired
    return [
        row.name,
        comparison.first,
        comparison.second,
        comparison.n,
        row.first.accuracy,
        row.second.accuracy,
        paired.difference,
        paired.low,
        paired.high,
        paired.p_value,
        paired.only_first,
        paired.only_second,
        " ".join(map(str, row.only_first)),
        " ".join(map(str, row.only_second)),
    ]
