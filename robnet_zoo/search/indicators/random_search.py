"""`python -m robnet_zoo.search random`: random cells ranked by an indicator, the search to beat."""

from __future__ import annotations

import argparse
import dataclasses
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from robnet_zoo.genotypes import CellGenotype, genotype_to_dict
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.files import check_writable, write_json, write_text
from robnet_zoo.runtime.options import override, read_pairs
from robnet_zoo.runtime.tables import csv_table
from robnet_zoo.search.core.random_cells import random_cells
from robnet_zoo.search.core.spaces import darts_space
from robnet_zoo.search.indicators.registry import Stage
from robnet_zoo.search.indicators.settings import TrialSettings, keep_settings
from robnet_zoo.search.run.artifacts import GENOTYPE, RECORD
from robnet_zoo.search.run.command import in_processes

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup

CANDIDATES, MEASURED = "candidates.csv", "cells"
FORMAT = "robnet_zoo.search.random/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder; what is measured there is kept")
    add("--budget", type=int, default=100, metavar="N", help="cells that are drawn (default 100)")
    add("--indicator", default="parameters", help="that ranks them (default parameters)")
    add("--least", action="store_true", help="take the cell of the least value, not the largest")
    add("--seed", type=int, default=0, help="of the drawing (default 0)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")


def run(options: argparse.Namespace) -> int:
    """Draw cells of the DARTS space, measure the indicator of each, and write down the best."""
    if options.budget < 1:
        raise ZooError(f"--budget {options.budget} is too few; draw 1 cell or more.")
    changes = {"repeats": "0", "seed": str(options.seed)} | read_pairs(options.set)
    settings = override(TrialSettings(), changes)
    check_writable(options.out / GENOTYPE)

    def body(processes: ProcessGroup) -> None:
        search(settings, options, processes)

    return in_processes(options.device, options.out, body)


def search(settings: TrialSettings, options: argparse.Namespace, processes: ProcessGroup) -> None:
    """Measure the cells that are not measured yet, and write the best one's files."""
    from robnet_zoo.plotting.cells import draw
    from robnet_zoo.runtime.console import progress
    from robnet_zoo.runtime.environment import environment
    from robnet_zoo.search.indicators import all_indicators  # noqa: F401
    from robnet_zoo.search.indicators.measure import known_labels, load_trial, measure_all
    from robnet_zoo.search.indicators.report import read_columns

    known = known_labels(get_args(Stage))
    if options.indicator not in known:
        raise unknown_name("indicator", options.indicator, known)
    began, genotypes = time.monotonic(), drawn(options.budget, options.seed)
    trial = load_trial(settings, [options.indicator], processes.device, options.data)
    keep_settings(options.out, {**dataclasses.asdict(settings), "indicator": options.indicator})
    with progress(len(genotypes), "measuring", "cells") as bar:
        measure_all(genotypes, trial, options.out / MEASURED, processes, bar)
    processes.wait()  # for the cells of the others
    if not processes.main:
        return
    values = read_columns(options.out / MEASURED, list(genotypes))[options.indicator].tolist()
    ranked = sorted(zip(genotypes, values, strict=True), key=lambda item: item[1])
    best, value = ranked[0] if options.least else ranked[-1]
    write_text(options.out / CANDIDATES, csv_table(["cell", options.indicator], ranked))
    source = {
        "search": "random",
        "indicator": options.indicator,
        "order": "least" if options.least else "largest",
        "budget": options.budget,
        "seed": options.seed,
        "dataset": settings.dataset,
    }
    name = f"random-{options.indicator}-seed{options.seed}"
    genotype = CellGenotype(name, "searched here", source, genotypes[best].cells)
    record = {
        "format": FORMAT,
        **source,
        "settings": dataclasses.asdict(settings),
        "chosen": {"cell": best, "value": value},
        "seconds": round(time.monotonic() - began, 1),
        "environment": environment(processes.device),
    }
    write_json(options.out / RECORD, record)
    subtitle = f"best of {options.budget} random cells by {options.indicator}"
    for file in ("cells.svg", "cells.png"):
        draw(genotype, options.out / file, f"{name}: searched here", subtitle)
    write_json(options.out / GENOTYPE, genotype_to_dict(genotype))
    print(f"{options.out}: {best} of {options.budget}, {options.indicator} {value:.6g}")


def drawn(budget: int, seed: int) -> dict[str, CellGenotype]:
    """Return cells of the DARTS space by name; a number and the seed fix a cell."""
    space, names = darts_space(), [f"random-{number:04d}" for number in range(budget)]
    return {
        name: CellGenotype(name, "control", f"drawn at random, seed {seed}", cells)
        for name in names
        for cells in [random_cells(space, random.Random(f"{seed}/{name}"))]
    }
