"""The README's examples run as they stand; those that do not say why, and only parse."""

import shutil
import sys

import pytest
import torch
from helpers.documents import README, ROOT, blocks, words
from helpers.processes import run
from torch import nn

EXAMPLES = [block for block in blocks(README) if not block.not_run]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the examples name: a checkout, and the result of a search."""
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "checkout").symlink_to(ROOT)
    shutil.copy(ROOT / "search" / "racl" / "genotype.json", tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # torch.hub.load adds to it
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_network():
    """Return a user's network, images of CIFAR-10's size, and the labels it gives them."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
    images = torch.rand(4, 3, 32, 32)
    return {"model": model, "images": images, "labels": model(images).argmax(1)}


@pytest.mark.parametrize("example", [e.text for e in EXAMPLES if e.language == "python"])
def test_python_examples_run(folder, example):
    exec(compile(example, "README.md", "exec"), own_network())


@pytest.mark.parametrize(
    "command", [line for e in EXAMPLES if e.language == "bash" for line in e.commands]
)
def test_commands_run(folder, command):
    module, arguments = words(command)
    done = run(["-m", module, *arguments])
    assert done.returncode == 0, done.stderr


def test_there_is_something_to_run():
    assert {example.language for example in EXAMPLES} == {"python", "bash"}
