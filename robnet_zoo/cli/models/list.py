"""`robnet-zoo list`: the models, or the sets of weights, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Literal

from rich.console import Console
from rich.table import Table

from robnet_zoo.cli.models.rows import model_row, weights_row
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.zoo.architectures import ARCHITECTURES, dimensions
from robnet_zoo.zoo.info import FAILED
from robnet_zoo.zoo.registry import list_models, local_weights, ranked_tags, tags
from robnet_zoo.zoo.weights import NATURAL, Weights

PLAIN_WIDTH = 220  # of tables that do not go to a terminal
_NETWORK = ("channels x cells", "parameters", "genotype", "paper")
HEADINGS = ("model", *_NETWORK, "weights", "trained on", "at size", "clean", "robust")
WEIGHTS_HEADINGS = ("model", *_NETWORK, "trained on", "clean", "robust")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("pattern", nargs="?", default="*", help="such as 'robnet*'")
    add("--pretrained", action="store_true", help="list sets of weights instead")
    add("--tag", help="only what has weights of this tag, such as digits, and these weights")
    add("--json", action="store_true", help="as a JSON list, with accuracies and sizes as numbers")


def run(options: argparse.Namespace) -> None:
    """Print the table, or the JSON list."""
    names = list_models(options.pattern, pretrained=options.pretrained)
    if not names:
        known = list_models(pretrained=options.pretrained)
        raise unknown_name("model" if known else "weights", options.pattern, known)
    if options.tag is not None:
        names = _with_tag(names, options.tag)
    if options.json:
        row_of = weights_row if options.pretrained else lambda name: model_row(name, options.tag)
        print(json.dumps([row_of(name) for name in names], indent=2))
        return
    table = Table(header_style="bold", box=None, pad_edge=False)
    for heading in WEIGHTS_HEADINGS if options.pretrained else HEADINGS:
        justify: Literal["left", "right"] = "right" if heading == "parameters" else "left"
        table.add_column(heading, justify=justify, no_wrap=heading == "model")
    for name in names:
        table.add_row(*(_weights_cells(name) if options.pretrained else _cells(name, options.tag)))
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)


def _with_tag(names: list[str], tag: str) -> list[str]:
    """Return those of some architectures, or of some sets of weights, that are of a tag."""
    own = {
        name: tags(name) if name in ARCHITECTURES else [name.partition(".")[2]] for name in names
    }
    chosen = [name for name in names if tag in own[name]]
    known = {known for every in own.values() for known in every}
    if not known:
        raise ZooError(f"There are no weights of {', '.join(names)}; leave out --tag.")
    if not chosen:
        raise unknown_name("tag", tag, known)
    return chosen


def _cells(name: str, tag: str | None) -> tuple[str, ...]:
    """Return an architecture's cells of the table.

    The last ones are of its weights of the tag, or of its default weights. Natural twins are not
    named, for most weights have one.
    """
    known, ranked = ARCHITECTURES[name], ranked_tags(name)
    chosen = tag or next(iter(ranked), None)
    weights = local_weights(f"{name}.{chosen}") if chosen else None
    return (
        name,
        dimensions(known.arguments),
        f"{known.parameters:,}",
        known.status,
        known.paper.short,
        ", ".join(each for each in ranked if not each.endswith(NATURAL)) or "-",
        _data(weights),
        _size(weights),
        *_rates(weights),
    )


def _weights_cells(name: str) -> tuple[str, ...]:
    """Return the cells of one set of weights; those that only the Hub has stay unknown."""
    known, weights = ARCHITECTURES[name.partition(".")[0]], local_weights(name)
    sizes = (dimensions(weights.arguments), f"{weights.parameters:,}") if weights else ("-", "-")
    return name, *sizes, known.status, known.paper.short, _data(weights), *_rates(weights)


def _data(weights: Weights | None) -> str:
    return f"{weights.dataset} {weights.image_size}x{weights.image_size}" if weights else "-"


def _size(weights: Weights | None) -> str:
    return f"{dimensions(weights.arguments)} ({weights.parameters:,})" if weights else "-"


def _rates(weights: Weights | None) -> tuple[str, str]:
    """Return accuracy without an attack, and under the strongest one with that one's name."""
    rates = weights.accuracies if weights else {}
    measured = {attack: value["accuracy"] for attack, value in rates.items()}
    clean = measured.pop("clean", None)
    mark = FAILED if weights and weights.failed_checks else ""
    worst = min(measured, key=lambda attack: measured[attack], default=None)
    against = f"{worst} {weights.threat_model.get('epsilon')}" if weights else ""
    return (
        "-" if clean is None else f"{clean:.1%}",
        "-" if worst is None else f"{measured[worst]:.1%}{mark} {against}",
    )
