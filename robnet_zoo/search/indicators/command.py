"""`python -m robnet_zoo.search indicators`: which quantities tell a robust architecture."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.extras import import_extra
from robnet_zoo.runtime.options import override, read_pairs
from robnet_zoo.search.indicators.registry import Stage
from robnet_zoo.search.indicators.settings import TrialSettings, keep_settings
from robnet_zoo.search.run.command import in_processes

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup

CELLS, ALL = "cells", "all"
TARGETS = ("robust_last", "robust_best", "clean_last", "clean_best")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder; what is measured there is kept")
    add("--stages", default="cell,narrow,network,trained", help="which indicators (default: all)")
    add("--cells", type=int, metavar="N", help="the first N cells (default: all 223)")
    add(
        "--also",
        default=ALL,
        metavar="NAMES",
        help="cells to place among them (default all)",
    )
    add("--target", default=TARGETS[0], choices=TARGETS, help="accuracy (default robust_last)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")


def run(options: argparse.Namespace) -> int:
    """Measure every indicator of every cell, and hold them against robust accuracy."""
    settings = override(TrialSettings(), read_pairs(options.set))
    stages = tuple(options.stages.split(","))
    for stage in stages:
        if stage not in get_args(Stage):
            raise unknown_name("stage", stage, get_args(Stage))
    if options.cells is not None and options.cells < 10:
        raise ZooError(
            f"--cells {options.cells} is too few for a rank correlation; give 10 or more."
        )

    import_extra("sklearn", "A trial's statistics", "search")  # they come after hours
    import_extra("matplotlib", "A trial's picture", "search")

    def body(processes: ProcessGroup) -> None:
        trial(settings, cast(Any, stages), options, processes)

    return in_processes(options.device, options.out, body)


def trial(
    settings: TrialSettings,
    stages: tuple[Stage, ...],
    options: argparse.Namespace,
    processes: ProcessGroup,
) -> None:
    """Measure the cells that are not measured yet, and write what they say."""
    from itertools import islice

    from robnet_zoo.runtime.console import progress
    from robnet_zoo.runtime.environment import environment
    from robnet_zoo.search.indicators import all_indicators  # noqa: F401
    from robnet_zoo.search.indicators.benchmark import (
        cells_named,
        cells_of_the_zoo,
        tiny_robustbench,
    )
    from robnet_zoo.search.indicators.measure import known_labels, load_trial, measure_all
    from robnet_zoo.search.indicators.report import PAGE, report

    benchmark = tiny_robustbench()
    genotypes = dict(islice(benchmark.genotypes().items(), options.cells))
    named = cells_of_the_zoo() if options.also == ALL else cells_named(options.also)
    asked = load_trial(settings, known_labels(stages), processes.device, options.data)
    keep_settings(options.out, dataclasses.asdict(settings))
    folder = options.out / CELLS
    with progress(len(genotypes) + len(named), "measuring", "cells") as bar:
        measure_all(genotypes | named, asked, folder, processes, bar)
    processes.wait()  # for the cells of the others
    if not processes.main:
        return
    facts = {
        "benchmark": benchmark.name,
        "settings": dataclasses.asdict(settings),
        "environment": environment(processes.device),
    }
    report(options.out, folder, benchmark, list(genotypes), list(named), options.target, facts)
    print((options.out / PAGE).read_text(encoding="utf-8"), end="")
