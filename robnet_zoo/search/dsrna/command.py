"""`python -m robnet_zoo.search dsrna`: the search from its options to its files."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, get_args

from robnet_zoo.runtime.options import parse_duration
from robnet_zoo.search.dsrna.recipe import RECIPES, Metric
from robnet_zoo.search.run.command import add_common, in_processes, recipe_from

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_common(parser, RECIPES)
    parser.add_argument(
        "--metric",
        choices=get_args(Metric),
        help="what to maximise: certified lower bound, Jacobian norm bound, or both (the default)",
    )


def run(options: argparse.Namespace) -> int:
    """Search, and write genotype, drawings, log, recipe and record into --out."""
    recipe = recipe_from(options, RECIPES)
    if options.metric is not None:
        recipe = dataclasses.replace(recipe, metric=options.metric)
    save_every = parse_duration(options.save_every)
    from robnet_zoo.search.dsrna.search import DsrnaSearch
    from robnet_zoo.search.run.artifacts import finish
    from robnet_zoo.search.run.data import load_search_data
    from robnet_zoo.search.run.loop import run_search

    def body(processes: ProcessGroup) -> None:
        data = load_search_data(recipe, processes=processes, root=options.data)
        search = DsrnaSearch(recipe, data)
        rows = run_search(
            search, data, recipe, options.out, resume=options.resume, save_every=save_every
        )
        if processes.main:
            genotype = search.genotype(f"dsrna_{recipe.metric}-{recipe.dataset}")
            finish(options.out, "dsrna", recipe, data, genotype, rows)
            print(f"{options.out}: {genotype.name} after {rows[-1]['seconds']:.0f} s")

    return in_processes(options, body)
