"""`robnet-zoo eval judges`: cheaper attacks beside AutoAttack, from records."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.options import print_written
from robnet_zoo.runtime.files import check_writable


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Compare cheaper attacks with AutoAttack image by image: judges.csv, and accuracy against\n"
        "passes as CSV and PNG. Records of the same weights and images are put together."
    )
    add = parser.add_argument
    add("records", type=Path, nargs="+", help="records of evaluations (JSON)")
    add("--out", type=Path, default=Path("runs/eval/judges"), help="folder (runs/eval/judges)")


def run(options: argparse.Namespace) -> None:
    """Compare, draw and write."""
    from robnet_zoo.eval import record
    from robnet_zoo.eval.reports import judges
    from robnet_zoo.eval.studies.judges import judged

    models = judged(map(record.read, options.records))
    check_writable(options.out / "judges.csv")
    print_written(judges.write(models, options.out))
