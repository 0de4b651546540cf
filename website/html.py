"""Pieces of pages that Markdown has no words for."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple


class Cell(NamedTuple):
    """A cell of a sortable table: what it shows (HTML), and what it is sorted by."""

    shown: str
    key: float | str | None


def sortable(header: Sequence[str], rows: Sequence[Sequence[Cell]], *, filters: str = "") -> str:
    """Return a table whose columns sort at a click, where empty cells come last.

    Args:
        header: names of the columns.
        rows: the cells, in the order to begin with.
        filters: the name of a column whose values a list above the table chooses from.
    """
    lines = ['<div class="sortable" markdown="0">']
    if filters:
        column = header.index(filters)
        values = sorted({str(row[column].key) for row in rows})
        choices = "".join(f"<option>{escape(value)}</option>" for value in values)
        lines.append(
            f'<label>{escape(filters)} <select data-column="{column}">'
            f'<option value="">all</option>{choices}</select></label>'
        )
    heads = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in header
    )
    lines += ['<table class="sorted">', f"<thead><tr>{heads}</tr></thead>", "<tbody>"]
    for row in rows:
        cells = "".join(
            f'<td data-key="{"" if cell.key is None else escape(str(cell.key))}">{cell.shown}</td>'
            for cell in row
        )
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>", "</div>"])


def text_cell(text: str) -> Cell:
    """Return a cell of plain text."""
    return Cell(escape(text), text)
