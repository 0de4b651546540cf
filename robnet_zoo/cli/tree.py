"""The tree of commands: a row each, and the parser that grows from them.

A row names a module with `configure(parser)`, which adds its options, and `run(options)`, which
turns them into typed arguments and returns the exit code. A module is imported when its command
is named, so that `--help` answers at once. The searches have a registry of their own.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from robnet_zoo import __version__
from robnet_zoo.search.registry import SEARCHES

HERE = "robnet_zoo.cli"


@dataclass(frozen=True)
class Command:
    """A command of the tree.

    Attributes:
        name: the words that call it, such as "eval sweep".
        help: what it does, in a few words.
        module: where it is, or what has its `configure` and `run`; "" for a word that only has
            further commands behind it.
    """

    name: str
    help: str
    module: Any = ""


COMMANDS = (
    Command("list", "list the models", f"{HERE}.models.list"),
    Command("info", "show a model's paper, size, weights and results", f"{HERE}.models.info"),
    Command("draw", "draw a model's cells", f"{HERE}.models.draw"),
    Command("predict", "name what an image shows", f"{HERE}.models.predict"),
    Command("attack", "attack one image and draw what that did", f"{HERE}.models.attack"),
    Command("export", "write a model as ONNX or for torch.export", f"{HERE}.models.export"),
    Command("convert", "make weights of an official checkpoint", f"{HERE}.models.convert"),
    Command("attach", "put an evaluation's results into weights", f"{HERE}.models.attach"),
    Command("download", "fetch weights from the Hugging Face Hub", f"{HERE}.models.download"),
    Command("publish", "publish weights on the Hugging Face Hub", f"{HERE}.models.publish"),
    Command("data", "make images the .npz file that training takes", f"{HERE}.data"),
    Command("eval", "attack a model and judge it", f"{HERE}.eval.evaluate"),
    Command("eval certify", "the radius within which a class is certain", f"{HERE}.eval.certify"),
    Command("eval properties", "its question for other verifiers", f"{HERE}.eval.properties"),
    Command("eval sweep", "accuracy against epsilon and against iterations", f"{HERE}.eval.sweep"),
    Command("eval matrix", "models under what an attack makes on each", f"{HERE}.eval.matrix"),
    Command("eval compare", "which of two judged models is better", f"{HERE}.eval.compare"),
    Command("eval diff", "why two evaluations give other numbers", f"{HERE}.eval.diff"),
    Command("eval verify", "judge saved adversarial images", f"{HERE}.eval.verify"),
    Command("eval judges", "cheaper attacks beside AutoAttack", f"{HERE}.eval.judges"),
    Command("eval figures", "draw what records hold", f"{HERE}.eval.figures"),
    Command("eval report", "one self-contained HTML page from records", f"{HERE}.eval.report"),
    Command("eval tables", "write the leaderboard and the docs' tables", f"{HERE}.eval.tables"),
    Command("train", "train a model adversarially", f"{HERE}.train.run"),
    Command("train export", "write a run's best weights as a folder", f"{HERE}.train.export"),
    Command("train pack", "write a run as small files, to move it", f"{HERE}.train.pack"),
    Command("train unpack", "make a run of a pack, to resume it", f"{HERE}.train.unpack"),
    Command("search", "search for robust architectures"),
)


def build_parser(program: str, argv: Sequence[str], at: str = "") -> argparse.ArgumentParser:
    """Return the parser of the branch of the tree that `argv` names.

    Args:
        program: what the program is called in its help.
        argv: the words behind it.
        at: the command that the program is, such as "eval"; "" for the root.
    """
    parser = argparse.ArgumentParser(prog=program)
    if not at:
        parser.add_argument("--version", action="version", version=f"robnet_zoo {__version__}")
    _grow(parser, at, argv)
    return parser


def _grow(parser: argparse.ArgumentParser, name: str, argv: Sequence[str]) -> None:
    """Give a parser the options of its command, or those of the command behind it."""
    rows = {row.name: row for row in commands()}
    behind = {row.name[len(name) :].strip(): row for row in rows.values() if _parent(row) == name}
    own = rows.get(name)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    text = own.help if own else "a zoo of robust architectures and their weights"
    parser.description = text[:1].upper() + text[1:] + "."
    if own is not None and own.module and not (argv and argv[0] in behind):
        module = own.module
        if isinstance(module, str):
            module = importlib.import_module(module)
        module.configure(parser)
        parser.set_defaults(run=module.run)
        if behind:
            listed = "".join(f"  {word:<10} {row.help}\n" for word, row in behind.items())
            further = f"further commands, each with its own --help:\n{listed}"
            parser.epilog = f"{further}\n{parser.epilog}" if parser.epilog else further
        return
    branches = parser.add_subparsers(metavar="COMMAND")
    parser.set_defaults(run=lambda options: parser.print_help())
    for word, row in behind.items():
        branch = branches.add_parser(word, help=row.help)
        if argv and argv[0] == word:
            _grow(branch, row.name, argv[1:])


def commands() -> tuple[Command, ...]:
    """Return every command, the searches included."""
    searches = (Command(f"search {name}", row.help, row.command) for name, row in SEARCHES.items())
    return (*COMMANDS, *searches)


def _parent(row: Command) -> str:
    return row.name.rpartition(" ")[0]
