"""`robnet-zoo eval figures`: what records hold, drawn."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.options import print_written
from robnet_zoo.runtime.files import check_writable


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Draw accuracy against epsilon, steps, parameters and classes, whatever the records allow."
    )
    add = parser.add_argument
    add("records", type=Path, nargs="+", help="records of evaluations (JSON)")
    add("--out", type=Path, default=Path("runs/eval/figures"), help="folder (runs/eval/figures)")


def run(options: argparse.Namespace) -> None:
    """Draw the figures."""
    from robnet_zoo.eval import record
    from robnet_zoo.eval.studies.plots import class_plot, plots, write_plot
    from robnet_zoo.plotting.style import save
    from robnet_zoo.runtime.files import file_name

    records = {path: record.read(path) for path in options.records}
    check_writable(options.out / "figure.png")
    together = plots(list(records.values()))
    written = [path for plot in together for path in write_plot(plot, options.out)]
    stems = [path.stem for path in records]
    for path, evaluation in records.items():
        alone = stems.count(path.stem) == 1
        name = path.stem if alone else file_name(str(path.with_suffix("")).strip("/"))
        written.append(options.out / f"classes-{name}.png")
        save(class_plot(evaluation), written[-1])
    print_written(written)
