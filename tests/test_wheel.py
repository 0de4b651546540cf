"""The wheel, unpacked into an empty folder outside the checkout.

An environment of its own would be installed anew for 5 GB, so the dependencies are those of the
environment that runs the tests; the package itself comes from the wheel alone.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from mini_hub import ROOT
from safetensors import safe_open

from robnet_zoo.zoo import list_models

MOST_BYTES = 10_000_000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    call = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(unpacked, folder, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_small_and_whole(wheel, unpacked):
    assert wheel.stat().st_size < MOST_BYTES
    package = ROOT / "robnet_zoo"
    listing = ["git", "-C", package, "ls-files", "-z"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    tracked = [name for name in done.stdout.split("\0") if name and (package / name).exists()]
    assert tracked or not (ROOT / ".git").exists()
    missing = [name for name in tracked if not (unpacked / "robnet_zoo" / name).is_file()]
    assert missing == []
    assert not list((unpacked / "robnet_zoo" / "pretrained").glob("*/*.svg"))


def test_every_packaged_file_opens(unpacked):
    kinds = set()
    for path in (unpacked / "robnet_zoo").rglob("*"):
        if path.is_dir():
            continue
        kinds.add(path.suffix or path.name)
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert len(tensors.keys()) > 10
        elif path.suffix == ".py":
            compile(path.read_text(encoding="utf-8"), path, "exec")
    assert {".py", ".json", ".typed"} <= {"." + kind.rpartition(".")[2] for kind in kinds}
    assert (unpacked / "robnet_zoo" / "py.typed").exists()


def test_importing_is_fast_and_leaves_torch_alone(unpacked, tmp_path):
    code = """
import sys, time
start = time.perf_counter()
import robnet_zoo
print(time.perf_counter() - start, "torch" in sys.modules, robnet_zoo.__file__)
"""
    runs = [python(unpacked, tmp_path, "-c", code).split() for _ in range(3)]
    assert {(torch, file) for _, torch, file in runs} == {
        ("False", str(unpacked / "robnet_zoo" / "__init__.py"))
    }
    assert min(float(seconds) for seconds, _, _ in runs) < 0.3


def test_the_console_command_is_declared(unpacked):
    (entry,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "robnet-zoo = robnet_zoo.cli:main" in entry.read_text()


def test_the_wheel_knows_the_embedded_weights(unpacked, tmp_path):
    """And none of a checkout's weights/, though a folder of that name lies beside it."""
    shown = python(unpacked, tmp_path, "-m", "robnet_zoo", "list")
    embedded = {path.name for path in (ROOT / "robnet_zoo" / "pretrained").glob("*.*")}
    assert embedded <= set(list_models(pretrained=True))
    for name in embedded:
        architecture, _, tag = name.partition(".")
        (line,) = [line for line in shown.splitlines() if line.startswith(f"{architecture} ")]
        assert tag in re.split(r"[ ,]+", line)


def test_the_quick_start_runs_from_the_wheel(unpacked, tmp_path):
    command = ["-m", "robnet_zoo.eval", "--model", "racl", "--attack", "pgd100"]
    shown = python(unpacked, tmp_path, *command, "--n", "16", "--device", "cpu")
    assert "racl.digits" in shown
    (record,) = (Path(tmp_path) / "runs" / "eval").glob("*.json")
    found = json.loads(record.read_text())
    assert found["data"]["n"] == 16
    assert found["attacks"][0]["name"] == "pgd100"
    assert found["clean"]["accuracy"]["accuracy"] > 0.8
