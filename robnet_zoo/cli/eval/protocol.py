"""`robnet-zoo eval --protocol NAME`: one table of the papers, published and measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.eval.adaptive import NAMES as ADAPTIVE
from robnet_zoo.cli.options import print_written, target_options
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable

FIXED = (
    "model",
    "attack",
    "dataset",
    "threat_model",
    "eps",
    "norm",
    "mean",
    "std",
    "restarts",
    *ADAPTIVE,
)


def run(options: argparse.Namespace) -> int:
    """Run the table on the weights that are here, show it and record it."""
    from robnet_zoo.zoo import protocols

    protocol = protocols.load(options.protocol)
    for option in FIXED:
        if getattr(options, option) is not None:
            name = option.replace("_", "-")
            raise ZooError(f"--{name} does not go with --protocol, which says what is run.")
    out = options.out or Path("runs/eval") / protocol.name
    check_writable(out / f"{protocol.name}.json")

    from rich.console import Console

    from robnet_zoo.eval.reports.protocol import show
    from robnet_zoo.eval.studies.protocol.run import run_protocol
    from robnet_zoo.eval.studies.protocol.table import MeasuredTable, write
    from robnet_zoo.runtime.distributed import is_main_process

    main = is_main_process()

    def keep(table: MeasuredTable) -> None:
        if main:
            write(protocol, table, out)

    table, skipped = run_protocol(
        protocol,
        target_options(options),
        out,
        weights=options.weights and Path(options.weights),
        resume=options.resume,
        keep=keep,
    )
    if main:
        show(protocol, table, skipped, Console())
        print_written(out / f"{protocol.name}.{kind}" for kind in ("csv", "json"))
    return 0
