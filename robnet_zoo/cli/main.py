"""One command line: `robnet-zoo`, and its branches as `python -m robnet_zoo.eval|train|search`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from robnet_zoo.cli.tree import build_parser
from robnet_zoo.runtime import console


def main(argv: Sequence[str] | None = None, *, at: str = "") -> int:
    """Run a command and return its exit code: 2 for a mistake of the user.

    Args:
        argv: the words behind the program's name; those of this process if None.
        at: the branch of the tree that the program is, such as "eval".
    """
    words = list(sys.argv[1:] if argv is None else argv)
    program = f"python -m robnet_zoo.{at}" if at else "robnet-zoo"
    options = build_parser(program, words, at).parse_args(words)
    return console.run(lambda: options.run(options))
