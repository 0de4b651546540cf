"""Tables as CSV, Markdown and plain text, and the places in a text that Markdown tables fill.

A table's place in a text lies between `<!-- table:NAME -->` and `<!-- end:NAME -->`. Where two
commands fill tables of one text, the second has a word of its own in place of "table".
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from robnet_zoo.runtime.errors import ZooError, unknown_name

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


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as plain text; all columns but the first are aligned to the right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )


def fill_tables(
    text: str, tables: Mapping[str, Callable[[], str]], *, marker: str = "table"
) -> str:
    """Return a text with every table in it replaced by its present content.

    Args:
        text: with a pair of markers around each table.
        tables: makes each table, by name.
        marker: the word that begins the markers; others are left alone.

    Raises:
        ZooError: a marker names no table, or its end is missing.
    """
    start = rf"<!-- {marker}:([\w.-]+) -->"
    for name in re.findall(start, text):
        if name not in tables:
            raise unknown_name("table", name, tables)
        if f"<!-- end:{name} -->" not in text:
            raise ZooError(f"Table '{name}' has no end; write <!-- end:{name} --> behind it.")
    place = re.compile(rf"({start}\n)(.*?)(<!-- end:\2 -->)", re.DOTALL)
    return place.sub(lambda found: f"{found[1]}{tables[found[2]]()}{found[4]}", text)


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
