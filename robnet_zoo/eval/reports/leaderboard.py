"""Tables of records and checks: `eval/leaderboard.csv`, and those in pages between markers.

A table stands between `<!-- table:NAME -->` and `<!-- end:NAME -->`; what is between them is
written by `python -m robnet_zoo.eval tables` and checked by `tables --check`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.attacks.registry import heading, table_order
from robnet_zoo.eval import record
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.runtime import files
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import csv_table, markdown_table
from robnet_zoo.zoo import protocols
from robnet_zoo.zoo.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from robnet_zoo.eval.checks.registry import Kind

ROOT = Path(__file__).parents[3]
QUOTED = ("pgd20", "pgd100", "autoattack")  # in the README's tables
CHECKS: dict[str, tuple[Kind, ...]] = {  # tables of docs/trust.md
    "checks-model": ("model", "state"),
    "checks-results": ("results",),
    "checks-sweep": ("sweep",),
}
NATURAL = "-natural"  # behind a tag: the same network trained without adversarial images
TWIN = "trained naturally: clean / PGD-20"
MARKED = re.compile(r"(<!-- table:([\w.-]+) -->\n)(.*?)(<!-- end:\2 -->)", re.DOTALL)


def read_records(folder: Path) -> dict[str, EvaluationRecord]:
    """Return every evaluation record of a folder by its file's name, without ".json".

    Raises:
        ZooError: a file is damaged.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        if record.schema_of(path) == record.SCHEMA:
            found[path.stem] = record.read(path)
    return found


def leaderboard(records: Mapping[str, EvaluationRecord]) -> str:
    """Return the leaderboard as CSV: a row for each record, the most robust first.

    Accuracies are fractions, each with the ends of its 95 % interval; those under attacks are
    worst cases over the iterates. An empty field is an attack that was not run.
    """
    attacks = sorted({name for report in records.values() for name in report.settings.attacks})
    attacks.sort(key=table_order)
    rates = ["clean", *attacks, "all_attacks"]
    header = ["dataset", "threat_model", "n", "model", "genotype", "parameters"]
    header += [f"{rate}{end}" for rate in rates for end in ("", "_low", "_high")]
    rows = [
        [
            report.data.name,
            f"{report.threat_model.norm} {report.threat_model.epsilon}",
            report.data.n,
            report.model.name,
            report.model.genotype_status,
            report.model.parameters,
            *(cell for rate in rates for cell in _fractions(_rate(report, rate))),
            "; ".join(check.name for check in report.checks if not check.passed),
            f"results/{name}.json",
        ]
        for name, report in sorted(
            records.items(),
            key=lambda item: (item[1].data.name, -item[1].totals.robust.accuracy, item[0]),
        )
    ]
    return csv_table([*header, "failed_checks", "record"], rows)


def _rate(report: EvaluationRecord, name: str) -> Proportion | None:
    if name == "clean":
        return report.clean.accuracy
    if name == "all_attacks":
        return report.totals.robust
    return next((result.robust for result in report.attacks if result.name == name), None)


def _fractions(found: Proportion | None) -> list[str]:
    return (
        ["", "", ""]
        if found is None
        else [f"{x:.4f}" for x in (found.accuracy, found.low, found.high)]
    )


def models_table() -> str:
    """Return the zoo's architectures with the sizes and CIFAR-10 numbers of the papers."""
    published = _published()
    rows = []
    for name, architecture in ARCHITECTURES.items():
        numbers, cited = published.get(name, ({}, ""))
        paper = architecture.paper
        rows.append(
            [
                f"`{name}`",
                f"[{paper.authors} {paper.year}](https://arxiv.org/abs/{paper.arxiv})",
                architecture.status,
                f"{architecture.parameters:,}",
                *(f"{numbers[key]:.2f}" if key in numbers else "-" for key in _PUBLISHED),
                cited or next(iter(protocols.published_text(name)), architecture.unpublished),
            ]
        )
    header = ["model", "paper", "genotype", "parameters", *_PUBLISHED, "numbers from"]
    return (
        "Parameters are those of the zoo's network at its published size. The accuracies are the "
        "papers' own, in percent, on\nCIFAR-10 after PGD-7 training under Linf 8/255.\n\n"
        + markdown_table(header, rows, right=("parameters", *_PUBLISHED))
    )


_PUBLISHED = ("clean", "PGD-20", "PGD-100")
_CITED = ("robnet-table1", "racl-table1", "racl-figure3")  # the first counts


def _published() -> dict[str, tuple[dict[str, float], str]]:
    """Return each model's published numbers, and the tables they stand in."""
    numbers: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, None]] = {}
    for protocol in map(protocols.load, _CITED):
        for row in protocol.rows:
            own = numbers.setdefault(row.model or "", {})
            for column, value in zip(protocol.columns, row.published, strict=True):
                if column.name in _PUBLISHED and value is not None and column.name not in own:
                    own[column.name] = value
                    sources.setdefault(row.model or "", {})[protocol.table] = None
    return {model: (own, "; ".join(sources[model])) for model, own in numbers.items() if own}


def results_table(tag: str, records: Mapping[str, EvaluationRecord]) -> str:
    """Return what the weights of a tag reach, beside their naturally trained twins, if any.

    Args:
        tag: such as "digits" or "cifar10-mini": a data set, and perhaps a size.
        records: by the names of weights.

    Raises:
        ZooError: the records were made on different numbers of images or threat models.
    """
    chosen = {
        name: report
        for name, report in records.items()
        if name.partition(".")[2] == tag and report.data.name == tag.partition("-")[0]
    }
    if not chosen:
        return f"No records for {tag} yet.\n"
    settings = {(r.data.n, r.threat_model.norm, r.threat_model.epsilon) for r in chosen.values()}
    whole = all(report.data.n == report.data.available for report in chosen.values())
    if len(settings) > 1:
        raise ZooError(
            f"The records for {tag} differ in images or threat model, so one table cannot "
            f"hold them: {', '.join(f'n={n} {norm} {eps}' for n, norm, eps in sorted(settings))}."
        )
    rows = []
    for name, report in sorted(chosen.items(), key=lambda item: -item[1].totals.robust.accuracy):
        twin = records.get(f"{name}{NATURAL}")
        natural = [] if twin is None else [_rate(twin, rate) for rate in ("clean", "pgd20")]
        rows.append(
            [
                f"`{report.model.name}`",
                f"{report.model.parameters:,}",
                *(_percent(_rate(report, rate)) for rate in ("clean", *QUOTED)),
                " / ".join(_short(rate) for rate in natural) or "-",
            ]
        )
    header = ["weights", "parameters", "clean", *map(heading, QUOTED), TWIN]
    header, rows = _without_empty(header, rows)
    ((n, norm, epsilon),) = settings
    images = f"{'' if whole else 'first '}{n:,} test images"
    return (
        f"Accuracy in percent on the {images}, {norm} {epsilon}; in brackets the 95 % interval. "
        "Under PGD, an image is robust\nif no iterate breaks it.\n\n"
        + markdown_table(header, rows, right=header[1:])
    )


def _without_empty(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out columns that say nothing."""
    kept = [index for index in range(len(header)) if any(row[index] != "-" for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _percent(found: Proportion | None) -> str:
    if found is None:
        return "-"
    return f"{100 * found.accuracy:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _short(found: Proportion | None) -> str:
    return "-" if found is None else f"{100 * found.accuracy:.1f}"


def fill(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Return a text with every marked table replaced by its present content.

    Raises:
        ZooError: a marker names no table, or its end is missing.
    """
    for name in re.findall(r"<!-- table:([\w.-]+) -->", text):
        if name not in tables:
            raise unknown_name("table", name, tables)
        if f"<!-- end:{name} -->" not in text:
            raise ZooError(f"Table '{name}' has no end; write <!-- end:{name} --> behind it.")
    return MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]()}{found[4]}", text)


def update(root: Path, check: bool) -> int:
    """Write what is out of date in a checkout, or only say so; return the exit code.

    Raises:
        ZooError: no README.md there, or a record or marker that is wrong.
    """
    from robnet_zoo.eval.checks import checks_table

    readme, results = root / "README.md", root / "eval" / "results"
    if not readme.is_file():
        raise ZooError(f"There is no README.md in '{root}'; name a checkout by --root.")
    records = read_records(results)
    tables: dict[str, Callable[[], str]] = {"models": models_table}
    for tag in {"digits", *(name.partition(".")[2] for name in records)}:
        tables[tag] = lambda tag=tag: results_table(tag, records)  # type: ignore[misc]
    tables |= {name: partial(checks_table, *kinds) for name, kinds in CHECKS.items()}
    wanted = {
        page: fill(page.read_text(encoding="utf-8"), tables)
        for page in (readme, root / "docs" / "trust.md")
        if page.is_file()
    }
    wanted[root / "eval" / "leaderboard.csv"] = leaderboard(records)
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path}")
        if not check:
            files.write_text(path, wanted[path])
    if stale and check:
        print("run: python -m robnet_zoo.eval tables", file=sys.stderr)
        return 1
    return 0
