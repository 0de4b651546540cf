"""The tables of README.md: the architectures, and what the weights of each tag reach."""

from __future__ import annotations

from collections.abc import Mapping

from robnet_zoo.attacks.registry import heading
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.reports.leaderboard import accuracy_under
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import markdown_table
from robnet_zoo.zoo import protocols
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.info import FAILED
from robnet_zoo.zoo.weights import NATURAL

SHOWN = ("clean", "PGD-20", "PGD-100")  # of the papers' columns
CITED = ("robnet-table1", "racl-table1", "racl-figure3")  # the first counts
QUOTED = ("pgd20", "pgd100", "cr", "autoattack")  # of the attacks in records
TWIN = "trained naturally: clean / PGD-20"


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
                f"[{paper.by} {paper.year}]({paper.link})",
                architecture.status,
                f"{architecture.parameters:,}",
                *(f"{numbers[key]:.2f}" if key in numbers else "-" for key in SHOWN),
                cited or next(iter(protocols.published_text(name)), architecture.unpublished),
            ]
        )
    header = ["model", "paper", "genotype", "parameters", *SHOWN, "numbers from"]
    return (
        "Parameters are those of the zoo's network at its published size. The accuracies are the "
        "papers' own, in percent, on\nCIFAR-10 after PGD-7 training under Linf 8/255.\n\n"
        + markdown_table(header, rows, right=("parameters", *SHOWN))
    )


def _published() -> dict[str, tuple[dict[str, float], str]]:
    """Return each model's published numbers, and the tables they stand in."""
    numbers: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, None]] = {}
    for protocol in map(protocols.load, CITED):
        for row in protocol.rows:
            own = numbers.setdefault(row.model or "", {})
            for column, value in zip(protocol.columns, row.published, strict=True):
                if column.name in SHOWN and value is not None and column.name not in own:
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
        name: record
        for name, record in records.items()
        if name.partition(".")[2] == tag and record.data.name == tag.partition("-")[0]
    }
    if not chosen:
        return f"No records for {tag} yet.\n"
    settings = {(r.data.n, r.threat_model.norm, r.threat_model.epsilon) for r in chosen.values()}
    whole = all(record.data.n == record.data.available for record in chosen.values())
    if len(settings) > 1:
        raise ZooError(
            f"The records for {tag} differ in images or threat model, so one table cannot "
            f"hold them: {', '.join(f'n={n} {norm} {eps}' for n, norm, eps in sorted(settings))}."
        )
    rows, failed = [], []
    for name, record in sorted(chosen.items(), key=lambda item: -item[1].totals.robust.accuracy):
        twin = records.get(f"{name}{NATURAL}")
        natural = (
            [] if twin is None else [accuracy_under(twin, rate) for rate in ("clean", "pgd20")]
        )
        mark = FAILED if record.failed_checks else ""
        failed += [
            f"{FAILED} `{record.model.name}` fails the check `{check.name}`: {check.detail}"
            for check in record.failed_checks
        ]
        rows.append(
            [
                f"`{record.model.name}`",
                f"{record.model.parameters:,}",
                _percent(record.clean.accuracy),
                *(_percent(accuracy_under(record, rate), mark) for rate in QUOTED),
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
        + "".join(f"\n{sentence}\n" for sentence in failed)
    )


def _without_empty(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out columns that say nothing."""
    kept = [index for index in range(len(header)) if any(row[index] != "-" for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _percent(rate: Proportion | None, mark: str = "") -> str:
    if rate is None:
        return "-"
    return f"{100 * rate.accuracy:.1f}{mark} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _short(rate: Proportion | None) -> str:
    return "-" if rate is None else f"{100 * rate.accuracy:.1f}"
