"""What a trial of indicators leaves: the values, a record, a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robnet_zoo.plotting.style import INK, MUTED, PALETTE, canvas, save
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.files import write_json, write_text
from robnet_zoo.runtime.tables import csv_table, markdown_table
from robnet_zoo.search.indicators.benchmark import Benchmark
from robnet_zoo.search.indicators.measure import SECONDS, read_values
from robnet_zoo.search.indicators.predictors import predictions
from robnet_zoo.search.indicators.registry import INDICATORS, of_stage
from robnet_zoo.search.indicators.statistics import (
    Association,
    Column,
    Repeat,
    associations,
    detectable_tau,
    repeat,
)

VALUES, RECORD, PAGE, FIGURE = "indicators.csv", "indicators.json", "table.md", "best.png"
PLACED = "placed.csv"
FORMAT = "robnet_zoo.search.indicators/1"
BEST = 3  # indicators that are drawn
THOUSANDS = 10_000  # from where on axes count in k and M
KNOWN = ("convolutions", "parameters")  # held fixed in a partial tau
SHORT, FEWEST = "trained_robust_accuracy", 10  # cells that were trained twice


def report(
    folder: Path,
    measured: Path,
    benchmark: Benchmark,
    names: Sequence[str],
    named: Sequence[str],
    target: str,
    facts: Mapping[str, Any],
) -> None:
    """Write indicators.csv, placed.csv, indicators.json, table.md and best.png.

    Args:
        folder: where they go.
        measured: what `measure_all` wrote.
        benchmark: where the cells and their accuracies are from.
        names: of the cells, in the benchmark's order from its first on.
        named: cells of the zoo, which are placed among them.
        target: the accuracy that indicators are held against.
        facts: what else belongs in the record.
    """
    columns = read_columns(measured, names)
    values = np.array([getattr(cell, target) for cell in benchmark.cells[: len(names)]])
    known = [name for name in KNOWN if name in columns]
    results = associations(columns, values, known)
    placed = place(columns, read_columns(measured, named)) if named else {}
    if placed:
        write_text(folder / PLACED, _placed_table(named, placed))
    facts = {
        **facts,
        "process_seconds": process_seconds(measured, [*names, *named]),
        "known": known,
        "same_everywhere": sorted(columns.keys() - results.keys()),
        "detectable_tau": {
            "one indicator": detectable_tau(len(names)),
            "all of them": detectable_tau(len(names), len(results)),
        },
        "best_and_last_epoch": to_builtins(best_and_last(benchmark, len(names))),
        "second_training": second_training(measured, names),
        "predictions": {
            title: to_builtins(predictions(chosen, values))
            for title, chosen in _sets(columns).items()
        },
        "placed": {"cells": list(named), "indicators": placed},
    }
    write_trial(folder, columns, (target, values), results, facts)


def read_columns(measured: Path, names: Sequence[str]) -> dict[str, Column]:
    """Return every indicator's values, those of several seeds as their means.

    The second training of a cell is there to be held against the first, and is left out.
    """
    rows = []
    for name in names:
        by_label: dict[str, list[float]] = {}
        for key, values in read_values(measured / f"{name}.json").items():
            if key == SECONDS or (key.startswith("trained") and key != "trained-0"):
                continue
            for label, value in values.items():
                by_label.setdefault(label, []).append(value)
        rows.append({label: sum(values) / len(values) for label, values in by_label.items()})
    shared = [label for label in rows[0] if all(label in row for row in rows)]
    return {label: np.array([row[label] for row in rows]) for label in shared}


def second_training(measured: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Return how far robust accuracies of two short trainings agree that differ in the seed alone.

    None where too few cells were trained twice.
    """
    twice = [read_values(measured / f"{name}.json") for name in names]
    pairs = [
        [values[key][SHORT] for key in ("trained-0", "trained-1")]
        for values in twice
        if "trained-1" in values
    ]
    if len(pairs) < FEWEST:
        return None
    return to_builtins(repeat(*np.array(pairs).T))


def process_seconds(measured: Path, names: Sequence[str]) -> float:
    """Return how long cells took in all; processes that worked side by side add up."""
    files = (read_values(measured / f"{name}.json") for name in names)
    return round(sum(sum(values.get(SECONDS, {}).values()) for values in files), 1)


def _sets(columns: Mapping[str, Column]) -> dict[str, dict[str, Column]]:
    """Return sets of indicators that predictors are given: the known, the cells', and all."""
    cells = {name: columns[name] for name in columns if name in of_stage("cell")}
    known = {name: columns[name] for name in KNOWN if name in columns}
    return {"parameters and convolutions": known, "all of the cells": cells, "all": dict(columns)}


def place(
    columns: Mapping[str, Column], named: Mapping[str, Column]
) -> dict[str, dict[str, list[float]]]:
    """Return where named cells stand on each indicator's scale among the random ones.

    By indicator, "value" and "below" for each named cell: the proportion of the random cells with
    a smaller value, those with the same counted by half.
    """
    placed = {}
    for name, values in named.items():
        own = columns[name]
        below = [float((own < value).mean() + (own == value).mean() / 2) for value in values]
        placed[name] = {"value": values.tolist(), "below": below}
    return placed


def _placed_table(named: Sequence[str], placed: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Return as CSV, for each named cell, the percentage of random cells below it."""
    rows = [
        [name, *(f"{100 * each['below'][number]:.1f}" for each in placed.values())]
        for number, name in enumerate(named)
    ]
    return csv_table(["cell", *placed], rows)


def best_and_last(benchmark: Benchmark, n: int) -> Repeat:
    """Return how far the robust accuracies of the best and of the last epoch agree.

    No indicator can be expected to tell more of one than the other does.
    """
    best, last = (
        np.array([getattr(cell, name) for cell in benchmark.cells[:n]])
        for name in ("robust_best", "robust_last")
    )
    return repeat(best, last)


def meaning(name: str) -> str:
    """Return what an indicator is, in a few words."""
    plain = name.removeprefix("trained_")
    after = ", after a short adversarial training" if name != plain else ""
    return INDICATORS[plain].meaning + after


def write_trial(
    folder: Path,
    columns: Mapping[str, Column],
    target: tuple[str, Column],
    results: Mapping[str, Association],
    facts: Mapping[str, Any],
) -> None:
    """Write indicators.csv, indicators.json, table.md and best.png.

    Args:
        folder: where they go.
        columns: each indicator's values.
        target: name and values of the accuracy, in percent.
        results: how the indicators go with it.
        facts: what else belongs in the record.
    """
    name, values = target
    rows = zip(values, *columns.values(), strict=True)
    lines = [[number, *(f"{value:.8g}" for value in row)] for number, row in enumerate(rows)]
    write_text(folder / VALUES, csv_table(["cell", name, *columns], lines))
    record = {"format": FORMAT, **facts, "target": name, "indicators": to_builtins(dict(results))}
    write_json(folder / RECORD, record)
    write_text(folder / PAGE, table(results))
    draw_best(folder / FIGURE, columns, target, results, facts["benchmark"])


def table(results: Mapping[str, Association]) -> str:
    """Return a line for each indicator, the strongest first."""
    header = ["indicator", "what it is", "tau", "p, all together", "tau beside what is known"]
    ordered = sorted(results.items(), key=lambda item: -abs(item[1].tau))
    lines = [
        [
            f"`{name}`",
            meaning(name),
            f"{each.tau:+.3f} [{each.low:+.2f}, {each.high:+.2f}]",
            f"{each.p_corrected:.1g}",
            ""
            if each.partial is None
            else f"{each.partial:+.3f} [{each.partial_low:+.2f}, {each.partial_high:+.2f}]",
        ]
        for name, each in ordered
    ]
    return markdown_table(header, lines, right=header[2:])


def draw_best(
    path: Path,
    columns: Mapping[str, Column],
    target: tuple[str, Column],
    results: Mapping[str, Association],
    benchmark: str,
) -> None:
    """Draw the accuracy against the indicators with the largest tau, whatever its sign."""
    from matplotlib.ticker import EngFormatter

    best = sorted(results, key=lambda name: -abs(results[name].tau))[:BEST]
    label, values = target
    with canvas(3.4 * len(best), 3.6, layout="constrained") as figure:
        panels = np.atleast_1d(figure.subplots(1, len(best), sharey=True))
        for axes, name, colour in zip(panels, best, PALETTE, strict=False):
            axes.scatter(columns[name], values, s=9, color=colour, alpha=0.6, linewidths=0)
            each = results[name]
            axes.set_title(f"tau {each.tau:+.2f} [{each.low:+.2f}, {each.high:+.2f}]", color=INK)
            axes.set_xlabel(meaning(name), fontsize=9)
            if np.abs(columns[name]).max() >= THOUSANDS:
                axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        kind, _, epoch = label.partition("_")
        panels[0].set_ylabel(f"{kind} accuracy, {epoch} epoch (%)")
        figure.supxlabel(f"{benchmark}, n = {len(values)} cells", fontsize=8, color=MUTED)
    save(figure, path)
