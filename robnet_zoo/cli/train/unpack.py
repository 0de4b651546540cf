"""`robnet-zoo train unpack`: a run made of a pack, to go on from."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("folder", type=Path, help="the pack's folder")
    add("--out", type=Path, required=True, help="the folder to write")
    add("--dataset", help="arrays:FILE.npz, where the same file is now")


def run(options: argparse.Namespace) -> None:
    """Write the run's folder."""
    from robnet_zoo.train.pack import unpack

    unpack(options.folder, options.out, options.dataset)
    print(f"go on with: python -m robnet_zoo.train --resume --out {options.out}")
