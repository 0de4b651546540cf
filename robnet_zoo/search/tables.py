"""`python -m robnet_zoo.search tables`: the tables on searches, from the records in search."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from robnet_zoo.runtime import console
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.tables import fill_tables, markdown_table
from robnet_zoo.search.ablate.choices import choices_table
from robnet_zoo.search.ablate.command import SEARCHES
from robnet_zoo.search.indicators.tables import placed_table, predictions_table
from robnet_zoo.search.robnet.analysis.one_shot import (
    LABELS,
    PAIRS,
    STANDALONE,
    TUNED,
    TUNED_TEST,
)

ROOT = Path(__file__).parents[2]
PAGES = (
    "docs/search.md",
    *(f"docs/search/{name}.md" for name in ("racl", "arnas", "dsrna", "robnet")),
)
ENDS = ("", "_low", "_high")  # of an accuracy's columns


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("--check", action="store_true", help="change nothing; exit with 1 if a table is stale")
    add("--root", type=Path, default=ROOT, help="a checkout (default: this one)")


def run(options: argparse.Namespace) -> int:
    """Write what is out of date, or only say so; return the exit code.

    Raises:
        ZooError: not a checkout, or a record or marker that is wrong.
    """
    stale = 0
    for page in (options.root / name for name in PAGES):
        if not page.is_file():
            raise ZooError(f"There is no '{page}'; name a checkout by --root.")
        text = page.read_text(encoding="utf-8")
        wanted = fill_tables(text, tables(options.root / "search"))
        if wanted == text:
            continue
        if options.check:
            console.note(f"out of date: {page.name}; run: python -m robnet_zoo.search tables")
            stale = 1
        else:
            write_text(page, wanted)
            console.note(str(page))
    return stale


def tables(records: Path) -> dict[str, Callable[[], str]]:
    """Return what makes each table, by name, from the folder of the searches' records.

    Names are those of folders, such as "racl-comparison"; "-correlations" follows that of a study
    whose figures are analysed, "-ranks" and "-chosen" that of one whose candidates were trained
    stand-alone, "-searches" and "-choices" that of an ablation, "-predictions" and "-placed" that
    of a trial.
    """

    def name_of(path: Path) -> str:
        return "-".join(path.parent.relative_to(records).parts)

    made: dict[str, Callable[[], str]] = {
        "arnas-designs": partial(_designs, records / "arnas" / "designs.csv"),
        "arnas-orders": partial(_orders, records / "arnas" / "orders.json"),
        "racl-preference": partial(_preference, records / "racl"),
    }
    for path in sorted(records.rglob("table.md")):
        made[name_of(path)] = partial(_table_of, path)
    for path in sorted(records.rglob("ablation.json")):
        made[f"{name_of(path)}-searches"] = partial(_searches, path)
        made[f"{name_of(path)}-choices"] = partial(choices_table, path.parent / SEARCHES)
    for path in sorted(records.rglob("indicators.json")):
        made[f"{name_of(path)}-predictions"] = partial(predictions_table, path)
        made[f"{name_of(path)}-placed"] = partial(placed_table, path)
    for path in sorted(records.rglob("standalone.json")):
        made[f"{name_of(path)}-ranks"] = partial(_ranks, path)
        made[f"{name_of(path)}-chosen"] = partial(_chosen, path)
    for path in sorted(records.rglob("analysis")):
        made[f"{name_of(path)}-correlations"] = partial(_correlations, path)
    return made


def _table_of(path: Path) -> str:
    """Return the table of a page that `compare` or `ablate` wrote, without its caption."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("|"))


def _designs(path: Path) -> str:
    header = ["design", "parameters", "clean", "pgd20"]
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            [
                row["design"],
                f"{int(row['parameters']):,}",
                *(_percent(*(float(row[key + end]) for end in ENDS)) for key in header[2:]),
            ]
            for row in csv.DictReader(file)
        ]
    return markdown_table(header, rows, right=header[1:])


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _orders(path: Path) -> str:
    """Return cosines, falls and seconds of the gradients at each stage of a search."""
    header = ["stage", "objective", "gradient", "cosine with exact", "fall", "seconds"]
    rows = []
    for stage, objectives in json.loads(path.read_text(encoding="utf-8"))["measured"].items():
        for objective, figures in objectives.items():
            for kind in ("first", "second", "exact"):
                cosine = figures.get(f"{kind}_cosine")
                rows.append(
                    [
                        stage,
                        objective,
                        kind,
                        "" if cosine is None else f"{cosine:.2f}",
                        f"{figures[f'{kind}_fall']:.4f}",
                        f"{figures[f'{kind}_seconds']:.1f}",
                    ]
                )
    return markdown_table(header, rows, right=header[3:])


def _correlations(folder: Path) -> str:
    """Return every correlation that the figures of a study have found."""
    header = ["figure", "of", "n", "Pearson", "p", "Spearman", "p"]
    rows = [
        [
            path.stem,
            name,
            str(found["architectures"]),
            *(_number(found[key]) for key in ("pearson", "pearson_p", "spearman", "spearman_p")),
        ]
        for path in sorted(folder.glob("*.json"))
        for name, found in _nested("", json.loads(path.read_text(encoding="utf-8")))
        if "spearman" in found
    ]
    return markdown_table(header, rows, right=header[2:])


def _preference(folder: Path) -> str:
    """Return how operations' weights changed in a search of RACL, beside their constants."""
    found = json.loads((folder / "record.json").read_text(encoding="utf-8"))["found"]
    with (folder / "operation_weights.csv").open(encoding="utf-8", newline="") as file:
        epochs = list(csv.DictReader(file))
    first, last = epochs[0], epochs[-1]
    roles = list(found["preference"])
    header = ["operation", "mean ln lambda", *(f"gain, {role} cell" for role in roles)]
    rows = [
        [operation, f"{constant:.2f}", *(f"{_gain(first, last, r, operation):+.2f}" for r in roles)]
        for operation, constant in found["mean_log_lambda"].items()
    ]
    return markdown_table(header, rows, right=header[1:])


def _gain(first: Mapping[str, str], last: Mapping[str, str], role: str, operation: str) -> float:
    """Return the mean change of ln(beta alpha) of an operation, over the edges of a role."""
    columns = [key for key in first if key.startswith(f"{role} ") and key.endswith(" mu")]
    of_operation = [key for key in columns if key.split()[2] == operation]
    return sum(float(last[key]) - float(first[key]) for key in of_operation) / len(of_operation)


def _searches(path: Path) -> str:
    """Return what each search of an ablation says of itself: lead, and RACL's preference."""
    found = json.loads(path.read_text(encoding="utf-8"))["found"]
    lead = {role: None for each in found.values() for role in each["lead"]}
    preference = {role: None for each in found.values() for role in each.get("preference", {})}
    header = [
        "search",
        *(f"lead, {role} cell: mean (least)" for role in lead),
        *(f"gain and constant, {role} cell: Spearman (p)" for role in preference),
    ]
    rows = [
        [
            name,
            *(f"{each['lead'][r]['mean']:.2f} ({each['lead'][r]['least']:.3f})" for r in lead),
            *(
                f"{_number(each['preference'][role]['spearman'])} "
                f"({_number(each['preference'][role]['p_value'])})"
                for role in preference
            ),
        ]
        for name, each in found.items()
    ]
    return markdown_table(header, rows, right=header[1:])


def _ranks(path: Path) -> str:
    """Return the rank correlations of one-shot scores and stand-alone accuracy."""
    header = ["first", "second", "n", "Spearman", "p", "Kendall", "p"]
    header += ["Spearman without the chosen", "p"]
    rows = []
    found = json.loads(path.read_text(encoding="utf-8"))["found"]
    for name, pair in PAIRS.items():
        every, drawn = found[name], found[name].get("without_chosen", {})
        rows.append(
            [
                *(LABELS.get(column, column) for column in pair),
                str(every["architectures"]),
                *(_number(every[f"spearman{end}"]) for end in ("", "_p")),
                *(_number(every[f"kendall{end}"]) for end in ("", "_p")),
                *(_number(drawn.get(f"spearman{end}")) for end in ("", "_p")),
            ]
        )
    return markdown_table(header, rows, right=header[2:])


def _chosen(path: Path) -> str:
    """Return where a study's chosen candidate stands among those that were trained stand-alone."""
    header = ["robust accuracy", "rank", "the chosen", "the others, mean", "lead"]
    chosen = json.loads(path.read_text(encoding="utf-8"))["found"]["chosen"]
    rows = [
        [
            LABELS[column],
            f"{each['rank']} of {each['of']}",
            _percent(*(each[key] for key in ("accuracy", "low", "high"))),
            f"{100 * each['mean_of_others']:.1f} %",
            f"{100 * each['lead']:+.1f}",
        ]
        for column in (TUNED, TUNED_TEST, STANDALONE)
        for each in [chosen[column]]
    ]
    return markdown_table(header, rows, right=header[1:])


def _nested(name: str, findings: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield findings and those inside of them, with their names."""
    yield name, findings
    for key, value in findings.items():
        if isinstance(value, dict):
            yield from _nested(f"{name}, {key}" if name else key, value)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 0.01 or value == 0 else f"{value:.0e}"
