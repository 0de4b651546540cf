"""`python -m robnet_zoo.search arnas`: search, repeat a search, or study what it rests on."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from robnet_zoo.genotypes import Genotype, published, read_genotype
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.options import parse_duration
from robnet_zoo.search.arnas.recipe import RECIPES, ArnasRecipe
from robnet_zoo.search.run.command import add_common, in_processes, recipe_from

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup

TASKS = ("search", "orders", "designs")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "task",
        nargs="?",
        choices=TASKS,
        default="search",
        help="search (default); orders: compare first- and second-order gradients at --out's "
        "checkpoint; designs: train one genotype in several placements and widths",
    )
    add_common(parser, RECIPES)
    add = parser.add_argument
    add("--searches", type=int, default=1, help="searches with seeds of their own (default 1)")
    add("--genotype", default="arnas", help="for designs: name or FILE.json (default arnas)")
    add("--designs", help='for designs: such as "A1A2R2 R1R2A2" (default: a table of eight)')


def run(options: argparse.Namespace) -> int | None:
    """Run the task that the options name."""
    if options.searches < 1:
        raise ZooError(f"--searches {options.searches} is not possible; give 1 or more.")
    recipe = recipe_from(options, RECIPES)
    return in_processes(options, lambda processes: _run(options, recipe, processes))


def _run(options: argparse.Namespace, recipe: ArnasRecipe, processes: ProcessGroup) -> None:
    from robnet_zoo.search.arnas.session import RunPaths, search

    place = RunPaths(
        options.out, processes, options.data, options.resume, parse_duration(options.save_every)
    )
    if options.task == "orders":
        from robnet_zoo.search.arnas.orders import compare_orders

        compare_orders(recipe, place)
    elif options.task == "designs":
        from robnet_zoo.search.arnas.designs import DESIGNS, parse_design, study

        designs = [parse_design(text) for text in (options.designs or DESIGNS).split()]
        study(_genotype(options.genotype), designs, recipe, place)
    elif options.searches == 1:
        search(recipe, place)
    else:
        from robnet_zoo.search.arnas.statistics import write_statistics

        seeds = range(recipe.seed, recipe.seed + options.searches)
        found = [
            search(dataclasses.replace(recipe, seed=seed), place.inside(f"seed{seed}"))
            for seed in seeds
        ]
        if processes.main:
            write_statistics(place.folder, found)


def _genotype(name: str) -> Genotype:
    return read_genotype(name) if name.endswith(".json") else published(name)
