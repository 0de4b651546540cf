"""What the commands of all searches share: options, and how they become a recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.errors import unknown_name
from robnet_zoo.runtime.options import override, read_pairs
from robnet_zoo.runtime.signals import Stopped
from robnet_zoo.search.run.recipe import HEADER, AnyRecipe, read_recipe

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup

DIRECT = ("dataset", "threat_model", "epochs", "batch_size", "channels", "layers", "seed")


def add_common(parser: argparse.ArgumentParser, recipes: Mapping[str, object]) -> None:
    """Add the options of every search; one left out keeps its recipe's value."""
    add = parser.add_argument
    add("--recipe", default="paper", help=f"{', '.join(recipes)} or FILE.toml (default paper)")
    add("--smoke", action="store_true", help="a search of a minute, to see that all works")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    add("--dataset", help="cifar10, digits, ..., or arrays:FILE.npz")
    add("--threat-model", help="row of the table of threat models; arrays need one")
    add("--eps", help="perturbation size, such as 8/255")
    add("--epochs", type=int, help="passes over the images")
    add("--batch-size", type=int, help="images a step, over all processes")
    add("--channels", type=int, help="width of the supernet")
    add("--layers", type=int, help="number of its cells")
    add("--seed", type=int, help="of weights, order, noise and samples")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")
    add("--out", type=Path, required=True, help="the search's folder")
    add("--resume", action="store_true", help="go on from the last checkpoint")
    add("--save-every", default="5m", metavar="TIME", help="between checkpoints (default 5m)")


def recipe_from(options: argparse.Namespace, recipes: Mapping[str, AnyRecipe]) -> AnyRecipe:
    """Return the recipe that the options ask for.

    Raises:
        ZooError: unknown recipe or setting, or a value out of range.
    """
    name = "smoke" if options.smoke else options.recipe
    if name in recipes:
        base = recipes[name]
    elif name.endswith(".toml"):
        base = read_recipe(Path(name), type(next(iter(recipes.values()))))
    else:
        raise unknown_name("recipe", name, recipes)
    changes = read_pairs(options.set)
    given = {key: getattr(options, key) for key in DIRECT} | {"epsilon": options.eps}
    changes |= {key: str(value) for key, value in given.items() if value is not None}
    return override(base, changes, fixed=HEADER)


def in_processes(options: argparse.Namespace, body: Callable[[ProcessGroup], None]) -> int:
    """Run a command's body as one of torchrun's processes, or alone; return the exit code.

    A request to stop ends it with 128 plus the signal's number, as shells do, after the body has
    saved its work.
    """
    from robnet_zoo.runtime.distributed import process_group

    try:
        with process_group(pick_device(options.device)) as processes:
            body(processes)
    except Stopped as stopped:
        print(f"stopped; go on with --resume --out {options.out}", file=sys.stderr)
        return 128 + stopped.number
    return 0
