"""The tables of docs/trust.md, from the record of the trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.checks.counting import POINTS, Row, alarms, count, missed, of_set, sets
from robnet_zoo.runtime.tables import markdown_table

Record = dict[str, Any]


def counts(record: Record) -> str:
    """Return how many false lifts were named, of each set and size."""
    cases = record["cases"]
    rows = []
    for which in sets(cases):
        part = of_set(cases, which)
        changes = len({case["change"] for case in part})
        for points in POINTS:
            counted = count(part, points)
            cells = (changes, len(part), f"{points} points or more")
            numbers = (counted.cases, counted.named, counted.missed)
            rows.append([which, *map(str, cells), *map(str, numbers)])
    header = ["set", "changes", "cases", "false lift", "with one", "named", "missed"]
    said = [
        f"Of what survives on the unchanged network {row['network']}, such images break "
        f"{row['false']:.1f} points as well."
        for row in record["unchanged"]
    ]
    errors = sum(bool(case["error"]) for case in cases)
    said += [f"{errors} case{'s' * (errors > 1)} could not be judged."] * bool(errors)
    table = markdown_table(header, rows, right=[*header[1:3], *header[4:]])
    return "\n".join([table, *said, ""])


def missed_cases(record: Record) -> str:
    """Return the false lifts that no check names, by name."""
    before = {row["network"]: row["robust"] for row in record["unchanged"]}
    rows = [
        [
            case["change"],
            case["set"],
            case["network"],
            f"{before[case['network']]:.1f}",
            f"{case['robust']:.1f}",
            f"{case['lift']:+.1f}",
            f"{case['false']:.1f}",
        ]
        for case in missed(record["cases"])
    ]
    numbers = ["unchanged", "changed", "lift", "broken"]
    return markdown_table(["change", "set", "network", *numbers], rows, right=numbers)


def honest(record: Record) -> str:
    """Return the alarms on honest networks, of each set."""
    networks = record["honest"]
    sizes = list(dict.fromkeys(size for row in networks for size in alarms(row)))
    rows = []
    for which in sets(networks):
        part = of_set(networks, which)
        accuracies = [_range(part, "clean"), _range(part, "robust")]
        alarmed = [_alarms(part, size) for size in sizes]
        rows.append([which, str(len(part)), *accuracies, *alarmed])
    numbers = ["networks", "clean", record["settings"]["attack"]]
    return markdown_table(["set", *numbers, *sizes], rows, right=numbers)


def summary(record: Record) -> str:
    """Return all tables, for the terminal."""
    return "\n".join(make(record) for make in TABLES.values())


def _range(rows: Sequence[Row], key: str) -> str:
    values = [row[key] for row in rows if not row["error"]]
    return f"{min(values):.1f} to {max(values):.1f}" if values else "-"


def _alarms(rows: Sequence[Row], size: str) -> str:
    named = [
        f"{', '.join(f'`{name}`' for name in failed)} on {row['network']}, {row['training']}"
        for row in rows
        if (failed := alarms(row).get(size))
    ]
    named += [
        f"{row['network']}, {row['training']}: {row['error']}" for row in rows if row["error"]
    ]
    return "; ".join(named) or "none"


TABLES: dict[str, Callable[[Record], str]] = {
    "counts": counts,
    "missed": missed_cases,
    "honest": honest,
}
