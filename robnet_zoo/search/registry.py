"""The searches and what belongs to them, by the names of their commands."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Protocol

from robnet_zoo.runtime.errors import ZooError


class Command(Protocol):
    """What a command consists of; `run.command.SearchCommand` makes one of a search."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's options to its parser."""

    def run(self, options: argparse.Namespace) -> int | None:
        """Do what the options say and return the exit code."""


@dataclass(frozen=True)
class Row:
    """A command of `python -m robnet_zoo.search`.

    Attributes:
        help: what it does, in a line.
        command: the command, or the name of a module with its `configure` and `run`, which is
            imported when the command is named.
    """

    help: str
    command: Command | str


def _own(module: str, text: str) -> Row:
    return Row(text, f"robnet_zoo.search.{module}")


SEARCHES: dict[str, Row] = {
    "robnet": _own("robnet.command", "one-shot robust search (RobNet, CVPR 2020)"),
    "robnet study": _own("robnet.study_command", "a worker that judges a supernet's architectures"),
    "robnet analyse": _own("robnet.analyse_command", "the paper's figures, from your own studies"),
    "robnet standalone": _own(
        "robnet.standalone_command", "one-shot scores against stand-alone training"
    ),
    "racl": _own("racl.command", "log-normal parameters, Lipschitz constraint (RACL)"),
    "arnas": _own("arnas.command", "accurate and robust cells, two objectives (ARNAS, CVPR 2024)"),
    "dsrna": _own("dsrna.command", "certified bound or Jacobian norm maximised (DSRNA, CVPR 2021)"),
    "random": _own("indicators.random_search", "random cells ranked by an indicator"),
    "indicators": _own("indicators.command", "which quantities tell a robust architecture"),
    "compare": _own("compare.command", "train cells under one recipe and attack them"),
    "ablate": _own("ablate.command", "variants of a search, some seeds each, trained and attacked"),
    "tables": _own("tables", "write the tables of docs/search from the records in search"),
}


def register_search(name: str, help: str, command: Command | str) -> None:
    """Add a search, which `python -m robnet_zoo.search NAME` then runs.

    Args:
        name: its command.
        help: what it does, in a line.
        command: what adds its options and runs it, such as a `SearchCommand`, or the name of a
            module with `configure` and `run`.

    Raises:
        ZooError: the name is taken.
    """
    if name in SEARCHES:
        raise ZooError(f"There is a search '{name}' already; register yours under another name.")
    SEARCHES[name] = Row(help, command)
