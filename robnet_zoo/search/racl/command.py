"""`python -m robnet_zoo.search racl`: the search from its options to its files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.runtime.options import parse_duration
from robnet_zoo.search.racl.recipe import RECIPES
from robnet_zoo.search.run.command import add_common, in_processes, recipe_from

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.racl.search import RaclSearch


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_common(parser, RECIPES)


def run(options: argparse.Namespace) -> int:
    """Search, and write genotype, log, record and plots into --out."""
    recipe = recipe_from(options, RECIPES)
    save_every = parse_duration(options.save_every)
    from robnet_zoo.search.racl.search import RaclSearch
    from robnet_zoo.search.run.data import load_search_data
    from robnet_zoo.search.run.loop import run_search

    def body(processes: ProcessGroup) -> None:
        data = load_search_data(recipe, processes=processes, root=options.data)
        search = RaclSearch(recipe, data)
        rows = run_search(
            search, data, recipe, options.out, resume=options.resume, save_every=save_every
        )
        if processes.main:
            write_results(options.out, search, rows)

    return in_processes(options, body)


def write_results(folder: Path, search: RaclSearch, rows: list[dict]) -> None:
    """Write a finished search's files and say whether its constraint is met."""
    import torch

    from robnet_zoo.search.racl import plots
    from robnet_zoo.search.run.artifacts import finish

    recipe, last, space = search.recipe, rows[-1], search.supernet.space
    genotype = search.genotype(f"racl-{recipe.dataset}")
    met = last["c"] is not None and last["c"] <= 0
    found = {
        "log_target": search.log_target,
        "constraint_met": met,
        "mean_log_lambda": {  # over cells and edges; "none" has no logarithm
            name: float(values.mean())
            for name, values in zip(space.operations, search.log_lambda.unbind(-1), strict=True)
            if name != "none"
        },
    }
    finish(folder, "racl", recipe, search.data, genotype, rows, found)
    trajectory = torch.stack(search.trajectory)
    plots.write_weights(folder / plots.TABLE, trajectory, space.roles, space.operations)
    plots.draw_constraint(folder / plots.CONSTRAINT, rows, recipe.eta, search.log_target)
    plots.draw_weights(folder / plots.WEIGHTS, trajectory, genotype, space.operations)
    if last["c"] is None:
        print(f"{folder}: the search ended in its warm-up, before any constraint")
        return
    print(
        f"{folder}: constraint {'met' if met else 'NOT met'}, c = {last['c']:.3g}, "
        f"Pr[lambda <= lambda*] = {last['probability']:.3f} (asked: {recipe.eta})"
    )
