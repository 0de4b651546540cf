"""`robnet-zoo train pack`: a run as files under 16 MiB, in half precision, to move it."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("folder", type=Path, help="the run's folder")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")


def run(options: argparse.Namespace) -> None:
    """Write the pack."""
    from robnet_zoo.train.pack import pack

    print(f"{pack(options.folder, options.out):,} bytes in {options.out}")
