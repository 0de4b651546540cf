"""`robnet-zoo eval tables`: the leaderboard and the tables in the docs, from the records."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.eval.reports import tables


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Write eval/leaderboard.csv and the tables of the docs from the records."
    add = parser.add_argument
    add("--check", action="store_true", help="write nothing; exit with 1 if any is out of date")
    add("--root", type=Path, default=tables.ROOT, help="the checkout (default: this one)")


def run(options: argparse.Namespace) -> int:
    """Write the tables, or check them."""
    return tables.update(options.root, options.check)
