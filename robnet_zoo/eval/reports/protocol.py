"""A paper's table on the terminal, with what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robnet_zoo.eval.studies.protocol.plan import NO_WEIGHTS
from robnet_zoo.eval.studies.protocol.table import Cell, MeasuredTable
from robnet_zoo.runtime.console import plain_table
from robnet_zoo.zoo.protocols import CLEAN, Protocol

NOTHING = (
    "Nothing was measured, for there are no weights or no images for any row; name a folder of "
    "weights folders by --weights, and one of data sets by --data."
)
WIDTH = 10  # of a column, with the space behind it


def show(
    protocol: Protocol, table: MeasuredTable, skipped: Sequence[str], console: Console
) -> None:
    """Print published and measured numbers, and below every difference of protocol.

    Args:
        protocol: the paper's table.
        table: what was measured.
        skipped: a sentence for everything that could have been measured and was not.
        console: where to.
    """
    console.print(Text(protocol.title, style="bold"))
    console.print(Text(f"{protocol.source}; accuracy in percent"))
    names = max(len(row.name) for row, _ in table)
    fit = max(1, (console.width - names - 2) // WIDTH)
    for first in range(0, len(protocol.columns), fit):
        console.print(_grid(protocol, table, slice(first, first + fit), names))
    for line in (*_differences(table), *_gaps(table)):
        console.print(Text(line))
    for note in (*skipped, *protocol.notes):
        console.print(Text(f"note: {note}"))
    if not any(cell.measured for _, cells in table for cell in cells):
        console.print(Text(NOTHING, style="yellow"))


def _grid(protocol: Protocol, table: MeasuredTable, part: slice, names: int) -> Table:
    grid = plain_table()
    grid.add_column("", min_width=names)
    for column in protocol.columns[part]:
        grid.add_column(column.name, justify="right", width=WIDTH - 2, overflow="fold")
    for row, cells in table:
        grid.add_row(row.name, *(_published(cell) for cell in cells[part]), style="dim")
        if any(cell.measured for cell in cells[part]):
            grid.add_row("  measured", *(_measured(cell) for cell in cells[part]))
            grid.add_row("  95 %", *(_interval(cell) for cell in cells[part]), style="dim")
    return grid


def _published(cell: Cell) -> str:
    return "-" if cell.published is None else f"{cell.published:.2f}"


def _measured(cell: Cell) -> Text:
    rate = cell.measured
    return Text("-") if rate is None else Text(f"{100 * rate.accuracy:.2f}", style="bold")


def _interval(cell: Cell) -> str:
    rate = cell.measured
    return "" if rate is None else f"{100 * rate.low:.0f}-{100 * rate.high:.0f}"


def _differences(table: MeasuredTable) -> list[str]:
    """Return what was done otherwise than in the paper: everywhere, and for single rows."""
    measured = [(row, [cell for cell in cells if cell.measured]) for row, cells in table]
    attacked = [cell for _, cells in measured for cell in cells if cell.attack != CLEAN]
    common = set.intersection(*(set(cell.differences) for cell in attacked)) if attacked else set()
    shared = [text for text in attacked[0].differences if text in common] if attacked else []
    lines = [f"everywhere: {text}" for text in shared]
    for row, cells in measured:
        own = dict.fromkeys(text for cell in cells for text in cell.differences)
        weights = ", ".join(dict.fromkeys(cell.weights for cell in cells))
        if cells:
            apart = [text for text in own if text not in common]
            lines.append("; ".join([f"{row.name}: {weights}", *apart]))
    return lines


def _gaps(table: MeasuredTable) -> list[str]:
    """Return what was skipped, rows with the same reason together."""
    rows: dict[str, list[str]] = {}
    lines = []
    for row, cells in table:
        gaps = dict.fromkeys(cell.missing for cell in cells if cell.missing)
        if not any(cell.measured for cell in cells):
            whole = all(reason.startswith(NO_WEIGHTS) for reason in gaps)
            rows.setdefault("no weights yet" if whole else next(iter(gaps)), []).append(row.name)
        elif gaps:
            lines.append(f"{row.name}, skipped in part: {'; '.join(gaps)}")
    return [*lines, *(f"skipped, {reason}: {', '.join(own)}" for reason, own in rows.items())]
