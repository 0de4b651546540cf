"""Options that several commands share, and what they become below the command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import fields
from pathlib import Path

from robnet_zoo.eval.target import BATCH_SIZE, EvalOptions


def add_target_options(parser: ArgumentParser) -> None:
    """Add what `target_options` reads: the images and the threat model of an evaluation."""
    add = parser.add_argument
    add("--dataset", help="data set, or arrays:FILE.npz (default: what the weights know)")
    add("--data", type=Path, help="folder of the data sets (default: $ROBNET_ZOO_DATA)")
    add("--split", default="test", help="train, validation or test (default: test)")
    add("--threat-model", help="row of the threat-model table (default: the weights' own)")
    add("--eps", help="size of the perturbation, such as 8/255, instead of the threat model's")
    add("--norm", choices=("Linf", "L2"), help="instead of the threat model's norm")
    add("--n", type=int, help="judge the first N images (default: all)")
    add(
        "--batch-size", type=int, default=BATCH_SIZE, help="images in a forward pass (default: 256)"
    )
    add("--device", default="auto", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--seed", type=int, default=0, help="of all randomness (default: 0)")


def target_options(arguments: Namespace) -> EvalOptions:
    """Return the options that `add_target_options` added, from parsed arguments."""
    return EvalOptions(
        **{field.name: getattr(arguments, field.name) for field in fields(EvalOptions)}
    )
