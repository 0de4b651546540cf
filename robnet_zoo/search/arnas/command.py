"""`python -m robnet_zoo.search arnas`: search, repeat a search, or study what it rests on."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from robnet_zoo.genotypes import Genotype, published, read_genotype
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.arnas.recipe import RECIPES
from robnet_zoo.search.run.command import (
    add_options,
    end_smoke,
    in_processes,
    paths_from,
    recipe_from,
)

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.arnas.recipe import ArnasRecipe
    from robnet_zoo.search.run.session import RunPaths

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
    add_options(parser, RECIPES, {})
    add = parser.add_argument
    add("--searches", type=int, default=1, help="searches with seeds of their own (default 1)")
    add("--genotype", default="arnas", help="for designs: name or FILE.json (default arnas)")
    add("--designs", help='for designs: such as "A1A2R2 R1R2A2" (default: a table of eight)')


def run(options: argparse.Namespace) -> int:
    """Run the task that the options name."""
    if options.searches < 1:
        raise ZooError(f"--searches {options.searches} is not possible; give 1 or more.")
    recipe, paths = recipe_from(options, RECIPES, {}), paths_from(options)
    genotype = _genotype(options.genotype) if options.task == "designs" else None

    def body(processes: ProcessGroup) -> None:
        if options.task == "orders":
            from robnet_zoo.search.arnas.orders import compare_orders

            compare_orders(recipe, paths, processes)
        elif genotype is not None:
            from robnet_zoo.search.arnas.designs import DESIGNS, compare_designs, parse_design

            designs = [parse_design(text) for text in (options.designs or DESIGNS).split()]
            compare_designs(genotype, designs, recipe, paths, processes)
        else:
            search(recipe, options.searches, paths, processes)
            if options.searches == 1:
                end_smoke(options, processes)

    return in_processes(options.device, paths.folder, body)


def search(recipe: ArnasRecipe, searches: int, paths: RunPaths, processes: ProcessGroup) -> None:
    """Search once, or with several seeds and then count which operations were chosen."""
    from robnet_zoo.search.arnas.search import ArnasSearch
    from robnet_zoo.search.arnas.statistics import write_statistics
    from robnet_zoo.search.run.session import run_to_files

    if searches == 1:
        run_to_files(ArnasSearch, recipe, paths, processes)
        return
    genotypes = []
    for seed in range(recipe.seed, recipe.seed + searches):
        own = dataclasses.replace(recipe, seed=seed)
        genotypes.append(run_to_files(ArnasSearch, own, paths.inside(f"seed{seed}"), processes))
    if processes.main:
        write_statistics(paths.folder, genotypes)


def _genotype(name: str) -> Genotype:
    return read_genotype(name) if name.endswith(".json") else published(name)
