"""The evaluations: records as they are, and a page of each that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.reports.examples import Example, remake
from robnet_zoo.eval.reports.html import page
from robnet_zoo.runtime.errors import ZooError
from website.checkout import RESULTS, ROOT


def reports(records: Mapping[str, EvaluationRecord], *, examples: bool) -> dict[str, str | Path]:
    """Return every record, its report, and the leaderboard as CSV.

    Args:
        records: by the names of weights.
        examples: show attacked images, which takes a few attacks.
    """
    files: dict[str, str | Path] = {"files/leaderboard.csv": ROOT / "eval" / "leaderboard.csv"}
    for name, record in records.items():
        files[f"files/records/{name}.json"] = RESULTS / f"{name}.json"
        files[f"reports/{name}.html"] = page([record], [], remake if examples else _none)
    return files


def _none(record: EvaluationRecord) -> list[Example]:
    raise ZooError("the site was built without them.")
