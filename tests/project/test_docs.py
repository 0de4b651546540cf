"""What the pages name exists: files, links, commands and their options."""

import argparse
import re
import sys

import pytest
from helpers.documents import INLINE, LINK, PAGES, ROOT, main_of, named_commands, prose, words

FOLDERS = (
    "robnet_zoo",
    "benchmarks",
    "docs",
    "eval",
    "scripts",
    "search",
    "tests",
    "website",
    "weights",
)
MADE = ("flows/study.db",)  # by a run, in its own folder
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


class Parsed(BaseException):
    """A command's options were accepted."""


@pytest.fixture
def parse(monkeypatch):
    """Return a function that parses a command as its module does, and goes no further."""
    parser, accept = argparse.ArgumentParser, argparse.ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        accept(self, args, namespace)
        raise Parsed

    def run(command, *more):
        module, arguments = words(command)
        monkeypatch.setattr(parser, "parse_args", stop)
        monkeypatch.setattr(sys, "argv", [module, *arguments, *more])
        try:
            main_of(module)()
        except Parsed:
            return True
        except SystemExit as ended:
            return ended.code == 0  # of --help
        return False

    return run


@pages
def test_commands_parse(page, parse, capsys):
    for command in named_commands(page.read_text("utf-8")):
        # a command that is only mentioned stands without its options
        mentioned = " -" not in command.partition("-m ")[2] and parse(command, "--help")
        assert mentioned or parse(command), f"{command}\n{capsys.readouterr().err}"


@pages
def test_links_lead_somewhere(page):
    for link in LINK.findall(prose(page.read_text("utf-8"))):
        target, _, heading = link.partition("#")
        if re.match(r"https?:", target):
            continue
        path = page.parent / target if target else page
        assert path.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}
            assert heading in anchors, link


@pages
def test_paths_exist(page):
    for code in INLINE.findall(prose(page.read_text("utf-8"))):
        folder = code.partition("/")[0]
        ours = folder in FOLDERS and re.fullmatch(r"[\w./*-]+", code)
        if (ours or re.fullmatch(r"[a-z_/]+/[a-z_]+\.py", code)) and not re.search("NAME", code):
            places = [ROOT, ROOT / "robnet_zoo", page.parent]
            assert code in MADE or any(list(place.glob(code.rstrip("/"))) for place in places), code
