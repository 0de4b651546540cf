"""What the commands of all searches share: options, recipes, processes and the search itself."""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.options import UNIONS, override, parse_duration, read_pairs
from robnet_zoo.runtime.signals import Stopped
from robnet_zoo.search.run.recipe import HEADER, AnyRecipe, SearchRecipe, read_recipe

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.run.session import BuildSearch, RunPaths

SETTINGS = {  # that have options of their own, with what their help says
    "dataset": "cifar10, digits, ..., or arrays:FILE.npz",
    "threat_model": "row of the table of threat models; arrays need one",
    "epsilon": "perturbation size, such as 8/255",
    "epochs": "passes over the images",
    "batch_size": "images a step, over all processes",
    "channels": "width of the supernet",
    "layers": "number of its cells",
    "seed": "of weights, order, noise and samples",
}
SPELT = {"epsilon": "--eps"}


@dataclass(frozen=True)
class SearchCommand:
    """The command of a search: its options, and from them to its files.

    Attributes:
        recipes: the search's recipes by name; "paper" is the default, "smoke" takes a minute.
        load: imports and returns the search's class, so that `--help` need not.
        settings: settings of its own that have options, with what their help says.
    """

    recipes: Mapping[str, SearchRecipe]
    load: Callable[[], BuildSearch]
    settings: Mapping[str, str] = field(default_factory=dict)

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's options to its parser."""
        add_options(parser, self.recipes, self.settings)

    def run(self, options: argparse.Namespace) -> int:
        """Search, and write genotype, drawings, log, recipe and record into --out."""
        recipe = recipe_from(options, self.recipes, self.settings)
        paths = paths_from(options)

        def body(processes: ProcessGroup) -> None:
            from robnet_zoo.search.run.session import run_to_files

            run_to_files(self.load(), recipe, paths, processes)
            end_smoke(options, processes)

        return in_processes(options.device, paths.folder, body)


def add_options(
    parser: argparse.ArgumentParser,
    recipes: Mapping[str, SearchRecipe],
    settings: Mapping[str, str],
) -> None:
    """Add the options of every search, and those of some settings of its own.

    An option that is left out keeps its recipe's value.
    """
    add = parser.add_argument
    add("--recipe", default="paper", help=f"{', '.join(recipes)} or FILE.toml (default paper)")
    add("--smoke", action="store_true", help="a search of a minute, to see that all works")
    add_settings(parser, type(next(iter(recipes.values()))), {**SETTINGS, **settings})
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")
    add("--out", type=Path, required=True, help="the search's folder")
    add("--resume", action="store_true", help="go on where it stopped, if it began")
    add("--save-every", default="5m", metavar="TIME", help="between checkpoints (default 5m)")


def add_settings(
    parser: argparse.ArgumentParser, kind: type[SearchRecipe], texts: Mapping[str, str]
) -> None:
    """Add an option for each of some settings of a recipe, and --set for all."""
    add = parser.add_argument
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    kinds = typing.get_type_hints(kind)
    for name, text in texts.items():
        option = SPELT.get(name, f"--{name.replace('_', '-')}")
        add(option, dest=name, help=text, **_reading(kinds[name]))


def _reading(kind: Any) -> dict[str, Any]:
    """Return how argparse reads a setting of a type."""
    if typing.get_origin(kind) in UNIONS:  # X | None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is Literal:
        return {"choices": typing.get_args(kind)}
    return {"type": int} if kind is int else {}


def changes_from(options: argparse.Namespace, names: Sequence[str]) -> dict[str, str]:
    """Return the settings that --set and the settings' own options give, as text."""
    given = {name: getattr(options, name) for name in names}
    own = {name: str(value) for name, value in given.items() if value is not None}
    return read_pairs(options.set) | own


def recipe_from(
    options: argparse.Namespace,
    recipes: Mapping[str, AnyRecipe],
    settings: Mapping[str, str],
) -> AnyRecipe:
    """Return the recipe that the options of `add_options` ask for.

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
    return override(base, changes_from(options, [*SETTINGS, *settings]), fixed=HEADER)


def paths_from(options: argparse.Namespace) -> RunPaths:
    """Return where the options of `add_options` have a search read and write."""
    save_every = parse_duration(options.save_every)
    from robnet_zoo.search.run.session import RunPaths

    return RunPaths(options.out, options.data, options.resume, save_every)


def end_smoke(options: argparse.Namespace, processes: ProcessGroup) -> None:
    """Say what comes after a smoke test, if this was one."""
    from robnet_zoo.search.run.artifacts import GENOTYPE

    if options.smoke and processes.main:
        print(
            "All works; a smoke test finds nothing. A search that does, on a CPU: --recipe digits. "
            "To train and attack cells alike:\n  python -m robnet_zoo.search compare "
            f"cells:{options.out / GENOTYPE} racl --out runs/compare"
        )


def in_processes(device: str, folder: Path, body: Callable[[ProcessGroup], None]) -> int:
    """Run a command's body as one of torchrun's processes, or alone; return the exit code.

    A request to stop ends it with 128 plus the signal's number, as shells do, after the body has
    saved its work.

    Args:
        device: as --device names it.
        folder: where the body saves its work.
        body: what to run.

    Raises:
        ZooError: it does not fit into the device's memory.
    """
    import torch

    from robnet_zoo.runtime.distributed import process_group

    try:
        with process_group(pick_device(device)) as processes:
            body(processes)
    except Stopped as stopped:
        print(f"stopped; go on with --resume --out {folder}", file=sys.stderr)
        return 128 + stopped.number
    except torch.OutOfMemoryError as error:
        raise ZooError(
            f"'{device}' is out of memory; choose a smaller batch_size, channels or layers, or "
            "more processes."
        ) from error
    return 0
