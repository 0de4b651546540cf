"""`robnet-zoo info`: a model's paper, size, weights and results."""

from __future__ import annotations

import argparse

from robnet_zoo.zoo.info import describe


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", help="such as racl, racl.digits or local-dir:DIR")


def run(options: argparse.Namespace) -> None:
    """Print what is known of the model."""
    print(describe(options.name))
