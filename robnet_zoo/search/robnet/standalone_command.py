"""`python -m robnet_zoo.search robnet standalone`: does the one-shot ranking hold?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.extras import import_extra
from robnet_zoo.train.recipes import get_recipe, override


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("study", type=Path, metavar="DIR", help="folder of a finished study")
    add("--supernet", type=Path, help="folder of its supernet (default: DIR)")
    add("--out", type=Path, required=True, help="folder; what is done there is not done again")
    add(
        "--architectures",
        type=int,
        default=20,
        help="candidates: the chosen one and the first others (default 20)",
    )
    add("--recipe", default="digits", help="training recipe of stand-alone networks, or FILE.toml")
    add("--epochs", type=int, default=10, help="of stand-alone networks (default 10)")
    add("--seed", type=int, default=0, help="of stand-alone training and attacks (default 0)")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")


def run(options: argparse.Namespace) -> int:
    """Fine-tune and train candidates, attack both on test images, and write what that says."""
    recipe = override(get_recipe(options.recipe), {"epochs": str(options.epochs)})
    device = pick_device(options.device)
    import_extra("optuna", "RobNet's search", "search")  # before others import it
    from robnet_zoo.runtime.signals import Stopped
    from robnet_zoo.search.robnet.standalone import Standalone, run_standalone

    asked = Standalone(
        options.study,
        options.supernet or options.study,
        options.out,
        options.architectures,
        recipe,
        options.seed,
        device,
        options.data,
    )
    try:
        rows, record = run_standalone(asked)
    except Stopped as stopped:
        print(f"stopped; the same command goes on in {options.out}", file=sys.stderr)
        return 128 + stopped.number
    _show(rows, record)
    print(f"written to {options.out}")
    return 0


def _show(rows: list[dict[str, Any]], record: Mapping[str, Any]) -> None:
    """Print the table and the findings."""
    from robnet_zoo.runtime.tables import text_table
    from robnet_zoo.search.robnet.analysis.correlation import in_lines

    header = [name for name in rows[0] if name not in ("code", "chosen")]
    table = [
        [
            f"{row['number']}{' (chosen)' if row['chosen'] else ''}",
            *(f"{100 * row[name]:.1f} %" for name in header[1:]),
        ]
        for row in rows
    ]
    print(text_table([name.replace("_", " ") for name in header], table))
    for line in in_lines(record["found"]):
        print(line)
    again = record["fine_tuned_again"]
    print(
        f"fine-tuned again: {again['equal']} of {again['candidates']} as robust on held-out images "
        f"as in the study, largest difference {100 * again['largest_difference']:.1f} points"
    )
    for place, checks in record["failed_checks"].items():
        print(f"failed checks of {place}: {', '.join(checks)}")
