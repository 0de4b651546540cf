"""The leaderboard: every record of an evaluation as a row that can be sorted."""

from __future__ import annotations

from collections.abc import Mapping

from robnet_zoo.attacks.registry import heading
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.reports.leaderboard import accuracy_under
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.zoo.info import FAILED
from robnet_zoo.zoo.weights import NATURAL
from website.html import Cell, sortable, text_cell

PAGE = "leaderboard.md"
RATES = ("clean", "pgd20", "pgd100", "cr", "autoattack")
NOT_RUN = Cell("", None)


def leaderboard(records: Mapping[str, EvaluationRecord]) -> dict[str, str]:
    """Return the page.

    Args:
        records: by the names of weights.
    """
    ordered = sorted(
        records.items(),
        key=lambda item: (item[1].data.name, NATURAL in item[0], -item[1].totals.robust.accuracy),
    )
    header = ["weights", "data set", "trained", "parameters", "clean"]
    header += [heading(rate) for rate in RATES[1:]]
    header += ["passes an image", "images", "checks"]
    rows = [_row(name, record) for name, record in ordered]
    text = f"""---
hide: [navigation, toc]
---

# Leaderboard

Every evaluation whose record is in the repository. Accuracy in percent, its 95 % interval below.
Numbers of different data sets or threat models do not compare: choose a data set, and click a
heading to sort. Quote AutoAttack where it was run: PGD is kinder, and to some networks more than to
others ([how to read these numbers](reading.md)).

{sortable(header, rows, filters="data set")}

*Passes* are the images that all attacks of the record together sent through the network for each
image they attacked, forwards and backwards: what the verdict cost. {FAILED} stands behind numbers
of an evaluation that failed a check; the network's page says which. The same as
[CSV](files/leaderboard.csv).
"""
    return {PAGE: text}


def _row(name: str, record: EvaluationRecord) -> list[Cell]:
    architecture = name.partition(".")[0]
    failed = record.failed_checks
    threat = record.threat_model.title
    return [
        Cell(f'<a href="models/{architecture}.html#{slug(name)}"><code>{name}</code></a>', name),
        text_cell(f"{record.data.name}, {threat}"),
        text_cell("naturally" if name.endswith(NATURAL) else "adversarially"),
        Cell(f"{record.model.parameters:,}", record.model.parameters),
        *(
            rate_cell(accuracy_under(record, rate), FAILED if failed and rate != "clean" else "")
            for rate in RATES
        ),
        _passes(record),
        Cell(f"{record.data.n:,}", record.data.n),
        text_cell(f"{len(failed)} failed" if failed else "passed"),
    ]


def rate_cell(rate: Proportion | None, mark: str = "") -> Cell:
    """Return an accuracy in percent with its interval below; an empty cell if it was not run."""
    if rate is None:
        return NOT_RUN
    shown = f"{100 * rate.accuracy:.1f}{mark}<small>{100 * rate.low:.1f}\N{EN DASH}"
    return Cell(f"{shown}{100 * rate.high:.1f}</small>", round(rate.accuracy, 6))


def _passes(record: EvaluationRecord) -> Cell:
    passes = record.passes()
    return Cell(str(passes), passes.forwards + passes.backwards)


def slug(name: str) -> str:
    """Return the anchor of the heading of weights on their architecture's page."""
    return name.replace(".", "").lower()
