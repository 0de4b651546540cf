"""The project's pages: their code blocks, and the commands and paths that they name."""

import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import robnet_zoo

ROOT = Path(robnet_zoo.__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("search", "eval", "weights")),
    ]
)
FENCED = re.compile(r"(?:<!-- not run: (.+?) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.M)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = {"ALGORITHM": "racl", "METRIC": "cb"}  # what may stand for a word of ours
PROGRAMS = r"(?:\w+=\w+ )?python -m (?:robnet_zoo|benchmarks|scripts)\b|robnet-zoo |torchrun "


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        language: "bash", "python" or "".
        text: what it holds.
        not_run: why a test does not run it; "" if one does.
    """

    language: str
    text: str
    not_run: str = ""

    @property
    def commands(self):
        """Its lines as commands, without comments, and continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        commands = [part for line in lines for part in re.split(r"&&|&", line.split(" #")[0])]
        return [command.strip() for command in commands if command.strip()]


def blocks(text, language=None):
    """Return the fenced blocks of a page's text, those of one language if it is given."""
    every = [Block(kind, code, reason) for reason, kind, code in FENCED.findall(text)]
    return [block for block in every if language in (None, block.language)]


def prose(text):
    """Return a page's text without its fenced blocks."""
    return FENCED.sub("", text)


def named_commands(text):
    """Return every command of ours that a page names, in blocks and inline."""
    written = [line for block in blocks(text) for line in block.commands]
    return [line for line in [*written, *INLINE.findall(prose(text))] if re.match(PROGRAMS, line)]


def main_of(module):
    """Return the function that `python -m MODULE` calls."""
    if module == "robnet_zoo":
        return importlib.import_module("robnet_zoo.cli.main").main
    package = hasattr(importlib.import_module(module), "__path__")
    return importlib.import_module(f"{module}.__main__" if package else module).main


def words(command):
    """Return the module that a command runs, and its arguments."""
    parts = [EXAMPLES.get(word, word) for word in shlex.split(command)]
    if "-m" not in parts:
        return "robnet_zoo", parts[1:]
    return parts[parts.index("-m") + 1], parts[parts.index("-m") + 2 :]
