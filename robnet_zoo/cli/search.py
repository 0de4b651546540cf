"""`python -m robnet_zoo.search`: run a search, or compare what searches found."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

from robnet_zoo.runtime import console

COMMANDS = {
    "robnet": ("robnet.command", "one-shot robust search (RobNet, CVPR 2020)"),
    "robnet study": ("robnet.study_command", "a worker that judges a supernet's architectures"),
    "robnet analyse": ("robnet.analyse_command", "the paper's figures, of studies of one's own"),
    "racl": ("racl.command", "log-normal architecture parameters, Lipschitz constraint (RACL)"),
    "arnas": ("arnas.command", "accurate and robust cells, two objectives (ARNAS, CVPR 2024)"),
    "dsrna": ("dsrna.command", "certified bound or Jacobian norm maximised (DSRNA, CVPR 2021)"),
    "compare": ("compare.command", "train cells under one recipe and attack them"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return console.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int | None:
    if " ".join(argv[:2]) in COMMANDS:
        argv = [" ".join(argv[:2]), *argv[2:]]
    parser = argparse.ArgumentParser(
        prog="robnet_zoo.search", description="Search for robust architectures."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if argv[:1] == [name]:
            _module(name).configure(command)
    options = parser.parse_args(argv)
    return _module(options.command).run(options)


def _module(command: str) -> Any:
    """Return a command's module, which has `configure(parser)` and `run(options)`."""
    return importlib.import_module(f"robnet_zoo.search.{COMMANDS[command][0]}")
