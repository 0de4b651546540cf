"""`robnet-zoo convert`: weights of an official RobNet checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("checkpoint", type=Path, help="FILE.pth.tar")
    add("--model", required=True, help="such as robnet_free")
    add("--out", type=Path, required=True, help="the folder to write")
    add("--dataset", help="what it was trained on (default: cifar10 or imagenet)")


def run(options: argparse.Namespace) -> None:
    """Write the weights folder."""
    from robnet_zoo.zoo.convert import convert

    weights = convert(options.checkpoint, options.model, options.out, options.dataset)
    print(f"converted: {weights.architecture} with {weights.parameters:,} parameters")
    print(f"load it with create_model('local-dir:{options.out}')")
