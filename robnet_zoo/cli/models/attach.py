"""`robnet-zoo attach`: an evaluation's results, put into the weights' own folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("folder", type=Path, help="the weights folder")
    add("record", type=Path, help="record of its evaluation (JSON)")
    add("--natural", type=Path, metavar="RECORD", help="of the same network trained naturally")


def run(options: argparse.Namespace) -> None:
    """Attach the results and print what is now known of the weights."""
    from robnet_zoo.eval.reports.attach import attach
    from robnet_zoo.zoo.info import describe

    attach(options.folder, options.record, options.natural)
    print(describe(f"local-dir:{options.folder}"))
