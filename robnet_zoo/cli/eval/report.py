"""`robnet-zoo eval report`: one self-contained HTML page from records."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.options import print_written
from robnet_zoo.runtime.files import check_writable


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Write one self-contained HTML page from records of evaluations and of the transfer\n"
        "matrix: tables, checks, plots and adversarial images."
    )
    add = parser.add_argument
    add("records", type=Path, nargs="+", help="records (JSON)")
    add("--out", type=Path, default=Path("report.html"), help="the page (report.html)")


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    from robnet_zoo.eval import record
    from robnet_zoo.eval.reports import html
    from robnet_zoo.eval.reports.examples import remake
    from robnet_zoo.eval.studies import transfer_matrix

    check_writable(options.out)
    schemas = {path: record.schema_of(path) for path in options.records}
    matrices = [path for path, schema in schemas.items() if schema == transfer_matrix.SCHEMA]
    html.write(
        options.out,
        [record.read(path) for path in options.records if path not in matrices],
        [transfer_matrix.read(path) for path in matrices],
        remake,
    )
    print_written([options.out])
