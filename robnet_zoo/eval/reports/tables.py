"""What is made from records and checks: eval/leaderboard.csv, and tables in pages.

The pages are README.md and docs/trust.md. `robnet-zoo eval tables` writes the tables; with
`--check` it says whether any is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.eval import record
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.reports.judges import summary
from robnet_zoo.eval.reports.leaderboard import leaderboard
from robnet_zoo.eval.reports.readme import models_table, results_table
from robnet_zoo.eval.studies.judges import judged
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.tables import fill_tables

if TYPE_CHECKING:
    from robnet_zoo.eval.checks.registry import Kind

ROOT = Path(__file__).parents[3]
CHECKS: dict[str, tuple[Kind, ...]] = {  # tables of docs/trust.md
    "checks-model": ("model", "state"),
    "checks-results": ("survivors", "results"),
    "checks-sweep": ("sweep",),
}


def read_records(folder: Path) -> dict[str, EvaluationRecord]:
    """Return every evaluation record of a folder by its file's name, without ".json".

    Raises:
        ZooError: a file is damaged.
    """
    return {
        path.stem: record.read(path)
        for path in sorted(folder.glob("*.json"))
        if record.schema_of(path) == record.SCHEMA
    }


def update(root: Path, check: bool) -> int:
    """Write what is out of date in a checkout, or only say so; return the exit code.

    Raises:
        ZooError: no README.md there, or a record or marker that is wrong.
    """
    from robnet_zoo.eval.checks import checks_table  # imports torch: --help must not

    readme = root / "README.md"
    if not readme.is_file():
        raise ZooError(f"There is no README.md in '{root}'; name a checkout by --root.")
    records = read_records(root / "eval" / "results")
    tags = {"digits", *(name.partition(".")[2] for name in records)}
    tables: dict[str, Callable[[], str]] = {
        "models": models_table,
        **{tag: partial(results_table, tag, records) for tag in tags},
        **{name: partial(checks_table, *kinds) for name, kinds in CHECKS.items()},
        "cheaper-judge": lambda: summary(judged(records.values())),
    }
    wanted = {
        page: fill_tables(page.read_text(encoding="utf-8"), tables)
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
            write_text(path, wanted[path])
    if stale and check:
        print("run: python -m robnet_zoo.eval tables", file=sys.stderr)
        return 1
    return 0
