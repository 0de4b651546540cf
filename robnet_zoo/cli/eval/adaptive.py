"""Options of attacks that are adapted to a defence, and of verdicts on a randomised one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

NAMES = ("draws", "decide", "eot", "loss")


def add_adaptive_options(parser: ArgumentParser) -> None:
    """Add what `adaptive_options` reads."""
    group = parser.add_argument_group("defences that are random or hide their gradients")
    add = group.add_argument
    add("--draws", type=int, metavar="K", help="judge a randomised model by K draws a verdict")
    add(
        "--decide",
        choices=("majority", "mean"),
        help="by more than half of the draws (default), or by their mean probability",
    )
    add("--eot", type=int, metavar="M", help="average M draws in each pass of an attack")
    add("--loss", choices=("ce", "margin"), help="what attacks of the gradient family raise")


def adaptive_options(arguments: Namespace) -> dict[str, Any]:
    """Return the keywords of `evaluate` for the options that were given."""
    return {
        name: getattr(arguments, name) for name in NAMES if getattr(arguments, name) is not None
    }
