"""`robnet-zoo train export`: a finished run's best weights as a weights folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("folder", type=Path, help="the run's folder")
    add("--out", type=Path, required=True, help="the folder to write")
    add("--dataset", help="name of the data set that arrays:FILE.npz held")
    add("--data-note", help="what is to be known about the data")


def run(options: argparse.Namespace) -> None:
    """Write the weights folder."""
    from robnet_zoo.train.export import export

    weights = export(options.folder, options.out, options.dataset, options.data_note)
    print(f"{weights.name}: {weights.size_bytes:,} bytes in {weights.folder}")
