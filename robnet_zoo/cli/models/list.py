"""`robnet-zoo list`: the models, or the sets of weights, as a table."""

from __future__ import annotations

import argparse
import sys
from typing import Literal

from rich.console import Console
from rich.table import Table

from robnet_zoo.runtime.errors import unknown_name
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.info import FAILED
from robnet_zoo.zoo.registry import default_tag, list_models, local_weights, tags

PLAIN_WIDTH = 160  # of tables that do not go to a terminal


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("pattern", nargs="?", default="*", help="such as 'robnet*'")
    parser.add_argument("--pretrained", action="store_true", help="list sets of weights instead")


def run(options: argparse.Namespace) -> None:
    """Print the table."""
    names = list_models(options.pattern, pretrained=options.pretrained)
    if not names:
        known = list_models(pretrained=options.pretrained)
        raise unknown_name("model" if known else "weights", options.pattern, known)
    table = Table(header_style="bold", box=None, pad_edge=False)
    for heading in ("model", "parameters", "genotype", "paper", "weights", "clean", "robust"):
        justify: Literal["left", "right"] = "right" if heading == "parameters" else "left"
        table.add_column(heading, justify=justify, no_wrap=heading == "model")
    for name in names:
        table.add_row(*_row(name))
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)


def _row(name: str) -> tuple[str, ...]:
    """Return a model's cells of the table; the accuracies are those of its default weights."""
    architecture, dot, named = name.partition(".")
    known = ARCHITECTURES[architecture]
    tag = named or default_tag(architecture)
    weights = local_weights(f"{architecture}.{tag}") if tag else None
    rates = weights.accuracies if weights else {}  # those that only the Hub has stay unknown
    measured = {attack: value["accuracy"] for attack, value in rates.items()}
    clean = measured.pop("clean", None)
    mark = FAILED if weights and weights.failed_checks else ""
    worst = min(measured, key=lambda attack: measured[attack], default=None)
    return (
        name,
        f"{weights.parameters if weights and dot else known.parameters:,}",
        known.status,
        known.paper.short,
        named or ", ".join(tags(architecture)) or "-",
        "-" if clean is None else f"{clean:.1%}",
        "-" if worst is None else f"{measured[worst]:.1%}{mark} {worst}",
    )
