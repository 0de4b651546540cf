"""The tree of commands: a row each, and the faces are branches of it."""

import importlib
import re
import subprocess
import sys

import pytest

import robnet_zoo
from robnet_zoo.cli.main import main
from robnet_zoo.cli.tree import build_parser, commands


@pytest.mark.parametrize("row", commands(), ids=lambda row: row.name)
def test_every_command_has_help_with_its_options(row, capsys):
    words = row.name.split()
    with pytest.raises(SystemExit) as ended:
        build_parser("robnet-zoo", words).parse_args([*words, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(f"usage: robnet-zoo {row.name} ")
    assert "%%" not in text  # argparse's own spelling of %, which epilogs do not need
    if row.module:
        assert importlib.import_module(row.module).__doc__


@pytest.mark.parametrize(("at", "named"), [("", "eval"), ("search", "racl")])
def test_a_bare_program_helps(capsys, at, named):
    assert main([], at=at) == 0
    assert re.search(rf"^ +{named} ", capsys.readouterr().out, re.MULTILINE)


def test_the_program_says_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"robnet_zoo {robnet_zoo.__version__}\n"


def test_a_command_with_others_behind_it_names_them():
    names = [row.name for row in commands()]
    for name in names:
        behind = [other.split()[-1] for other in names if other.rpartition(" ")[0] == name]
        text = build_parser("x", [], name).format_help()
        assert all(re.search(rf"^ +{word}( |$)", text, re.MULTILINE) for word in behind)


@pytest.mark.parametrize("face", ["eval", "train", "search racl"])
def test_the_faces_are_branches_of_one_tree(face):
    room, *words = face.split()

    def options(program, given, at=""):
        parser = build_parser(program, given, at)
        for word in given:
            (branches,) = (a for a in parser._actions if hasattr(a.choices, "keys"))
            parser = branches.choices[word]
        return sorted(option for action in parser._actions for option in action.option_strings)

    assert options("robnet-zoo", [room, *words]) == options("face", words, room)
    assert len(options("face", words, room)) > 10


def test_torchrun_leaves_the_number_of_images_to_the_command():
    call = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1"]
    call += ["-m", "robnet_zoo.eval", "--model", "nobody", "--attack", "fgsm", "--images", "4"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert "Unknown model 'nobody'" in done.stderr
