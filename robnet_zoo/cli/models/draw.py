"""`robnet-zoo draw`: a model's cells as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.genotypes import Genotype
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.blueprints import blueprint
from robnet_zoo.zoo.registry import find_weights


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", help="racl, racl.digits, a weights folder or cells:FILE.json")
    parser.add_argument("--out", type=Path, help="FILE.svg or FILE.png (default: NAME.svg)")


def run(options: argparse.Namespace) -> None:
    """Draw the cells into a file."""
    from robnet_zoo.plotting.cells import draw

    name, architecture, genotype = _cells(options.name)
    if genotype is None:
        raise ZooError(f"{options.name} is human-designed and has no cells to draw.")
    known = ARCHITECTURES.get(architecture)
    status = f"{genotype.status} genotype"
    out = options.out or Path(f"{name}.svg")
    draw(genotype, out, name, f"{known.paper.short} · {status}" if known else status)
    print(f"drawn: {out}")


def _cells(name: str) -> tuple[str, str, Genotype | None]:
    """Return what a name's drawing is called, its architecture and its genotype."""
    if name in ARCHITECTURES:
        return name, name, blueprint(name).genotype
    if name.startswith("cells:"):
        return Path(name.partition(":")[2]).stem, "cells", blueprint(name).genotype
    weights = find_weights(name)
    own = Path(name.rpartition(":")[2]).resolve().name  # not a name that came with the weights
    return own, weights.architecture, weights.genotype
