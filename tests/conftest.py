"""What every test may use, and which tests a machine skips."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import robnet_zoo
from robnet_zoo.eval.__main__ import main

ROOT = Path(robnet_zoo.__file__).parents[1]
SHARED = ROOT.parent / "shared"  # papers, fact sheets and data that the repository does not carry


def pytest_addoption(parser):
    parser.addoption("--network", action="store_true", help="run the tests that use the internet")


def pytest_collection_modifyitems(config, items):
    missing = {
        "gpu": None if torch.cuda.is_available() else "there is no CUDA device",
        "network": None if config.getoption("--network") else "give --network to run it",
    }
    for item in items:
        for mark, reason in missing.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def root():
    """The checkout's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared():
    """Return a function that gives a path in `shared/`, beside the checkout, or skips the test."""

    def path(name):
        if not (SHARED / name).exists():
            pytest.skip(f"there is no shared/{name} beside the checkout")
        return SHARED / name

    return path


@pytest.fixture
def run_eval(tmp_path, monkeypatch, capsys):
    """Return a function that runs eval's command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*options):
        return main([*options]), *capsys.readouterr()

    return command


@pytest.fixture(scope="session")
def run_python():
    """Return a function that runs code in a new Python, which must succeed: its stdout, stderr."""

    def run(code, *arguments, cwd=None, **environment):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return run
