"""`robnet-zoo eval compare`: two models on the same images, from their records."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.options import print_written
from robnet_zoo.runtime.files import check_writable


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Compare two models image by image, from records of the same images: the difference of\n"
        "their accuracies with its 95 % interval, McNemar's test, and the images that differ."
    )
    add = parser.add_argument
    add("first", type=Path, metavar="A.json", help="the record of a model")
    add("second", type=Path, metavar="B.json", help="that of another")
    add("--list", action="store_true", help="name the images that differ too")
    add("--out", type=Path, help="write the comparison to a file that ends in .json or .csv")
    add("--data", type=Path, help="folder of the data sets, for records of different lengths")


def run(options: argparse.Namespace) -> None:
    """Compare the records, show and write the result."""
    from robnet_zoo.eval import record
    from robnet_zoo.eval.reports import comparison as reports
    from robnet_zoo.eval.studies.comparison import compare

    if options.out is not None:
        reports.validate_ending(options.out)
        check_writable(options.out)
    compared = compare(record.read(options.first), record.read(options.second), data=options.data)
    reports.show(compared, images=options.list)
    if options.out is not None:
        reports.write(compared, options.out)
        print_written([options.out])
