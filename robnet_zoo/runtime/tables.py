"""Tables as CSV and as Markdown: one writer of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

HISTORY = "history.csv"  # of a training run or a search: a row an epoch


def csv_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as CSV; None is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def csv_records(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows that share their keys as CSV; floats have six significant digits."""
    header = list(rows[0])
    return csv_table(header, [[_short(row[key]) for key in header] for row in rows])


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()
) -> str:
    """Return a table in Markdown, a line each, with a line break at the end.

    Args:
        header: names of the columns.
        rows: cells.
        right: columns of numbers, by name, which are aligned to the right.
    """
    rule = ["---:" if name in right else "---" for name in header]
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *rows))


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
