"""`python -m website OUT`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from website.build import build


def main() -> None:
    """Build the site."""
    parser = argparse.ArgumentParser(prog="python -m website", description="Build the site.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder; its old content is replaced")
    parser.add_argument(
        "--no-examples", action="store_true", help="leave attacked images out of the reports"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    build(options.out, examples=not options.no_examples)
    print(f"{options.out / 'index.html'}")


if __name__ == "__main__":
    main()
