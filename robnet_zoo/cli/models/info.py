"""`robnet-zoo info`: a model's paper, size, weights and results."""

from __future__ import annotations

import argparse

from robnet_zoo.zoo.info import describe


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", help="racl, racl.digits, a weights folder or cells:FILE.json")


def run(options: argparse.Namespace) -> None:
    """Print what is known of the model."""
    print(describe(options.name))
