"""`robnet-zoo draw`: a model's cells as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.blueprints import blueprint


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", help="such as racl or cells:genotype.json")
    parser.add_argument("--out", type=Path, help="FILE.svg or FILE.png (default: NAME.svg)")


def run(options: argparse.Namespace) -> None:
    """Draw the cells into a file."""
    from robnet_zoo.plotting.cells import draw

    design = blueprint(options.name)
    if design.genotype is None:
        raise ZooError(f"{options.name} is human-designed and has no cells to draw.")
    known = ARCHITECTURES.get(options.name)
    name = options.name if known else Path(options.name.partition(":")[2]).stem
    out = options.out or Path(f"{name}.svg")
    status = f"{design.status} genotype"
    draw(design.genotype, out, name, f"{known.paper.short} · {status}" if known else status)
    print(f"drawn: {out}")
