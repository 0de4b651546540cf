"""`python -m robnet_zoo.search ablate`: what a setting of a search is worth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.search.ablate.plan import (
    Plan,
    controls_of,
    groups_of,
    read_plan,
    recipe_of,
    runs,
    search_of,
)
from robnet_zoo.search.run.command import in_processes

if TYPE_CHECKING:
    from robnet_zoo.genotypes import Genotype
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.run.session import RunPaths

SEARCHES, CONTROLS, CELLS = "searches", "controls", "cells"  # folders


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("plan", type=Path, metavar="PLAN.toml", help="search, variants, seeds, training, attacks")
    add("--out", type=Path, required=True, help="folder; what is done there is not done again")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")


def run(options: argparse.Namespace) -> int:
    """Search with every variant and seed, train and attack the cells, and write the table."""
    plan = read_plan(options.plan)
    list(runs(plan))  # whatever is wrong with a variant or a control is said before any search
    controls_of(plan)
    groups_of(plan)
    from robnet_zoo.search.run.session import RunPaths

    paths = RunPaths(options.out, options.data, resume=True)

    def body(processes: ProcessGroup) -> None:
        ablate(plan, paths, processes)

    return in_processes(options.device, options.out, body)


def ablate(plan: Plan, paths: RunPaths, processes: ProcessGroup) -> None:
    """Do what a plan asks for, as far as it is not done, and write table.md and ablation.json.

    Raises:
        Stopped: the process was asked to stop and has saved its work.
        ZooError: missing data, or a folder that holds another plan's work.
    """
    from robnet_zoo.genotypes import genotype_to_dict, read_genotype
    from robnet_zoo.runtime.files import write_json
    from robnet_zoo.search.ablate.agreement import mean_agreement, mean_of_pairs
    from robnet_zoo.search.ablate.table import PAGE, write_ablation
    from robnet_zoo.search.compare.judge import Comparison, cell_name, compare
    from robnet_zoo.search.compare.table import RECORD as COMPARED
    from robnet_zoo.search.run.artifacts import GENOTYPE, RECORD
    from robnet_zoo.search.run.session import run_to_files

    _, build = search_of(plan)
    controls, groups, base = controls_of(plan), groups_of(plan), recipe_of(plan)
    rows: dict[str, list[str]] = {}
    genotypes: dict[str, Genotype | None] = {}
    cells, found = [], {}
    for variant, recipe in runs(plan):
        name, own = recipe.name, paths.inside(f"{SEARCHES}/{recipe.name}")
        if not (own.folder / RECORD).exists():
            run_to_files(build, recipe, own, processes, name)
        rows.setdefault(variant, []).append(name)
        genotypes[name] = read_genotype(own.folder / GENOTYPE)
        found[name] = json.loads((own.folder / RECORD).read_text(encoding="utf-8"))["found"]
        cells.append(plan.settings(f"cells:{own.folder / GENOTYPE}", recipe))
    if not processes.main:
        return
    for group, members in plan.groups.items():
        joined = [plan.settings(member, base) for member in members]
        rows[group] = [cell_name(each) for each in joined]
        genotypes |= zip(rows[group], groups[group], strict=True)
        cells += joined
    for control, made in controls.items():
        rows[control] = []
        for genotype in made:
            file = paths.folder / CONTROLS / f"{genotype.name}.json"
            write_json(file, genotype_to_dict(genotype))
            cells.append(plan.settings(f"cells:{file}", base))
            rows[control].append(genotype.name)
            genotypes[genotype.name] = genotype
        if not made:
            cells.append(plan.settings(control, base))
            rows[control].append(cell_name(cells[-1]))
    seed = plan.training.seed
    comparison = Comparison(
        paths.folder / CELLS,
        plan.attacks,
        plan.n,
        plan.certify,
        seed,
        processes.device,
        paths.root,
        plan.certified_norms,
    )
    compare(cells, comparison)
    compared = json.loads((comparison.folder / COMPARED).read_text(encoding="utf-8"))
    agreements = {
        row: mean_agreement([cell for cell in map(genotypes.get, names) if cell is not None])
        for row, names in rows.items()
    }
    first = [genotypes[name] for name in next(iter(rows.values()))]
    to_first = {
        row: mean_of_pairs(first, [genotypes[name] for name in rows[row]])
        for row in list(plan.variants)[1:]
    }
    write_ablation(paths.folder, to_builtins(plan), rows, compared, found, agreements, to_first)
    print((paths.folder / PAGE).read_text(encoding="utf-8"), end="")
