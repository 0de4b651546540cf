"""The wheel, installed by pip in an empty environment outside the checkout.

The dependencies, 5 GB, are lent by the environment that runs the tests; the package itself comes
from the wheel alone.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from helpers.documents import README, ROOT, blocks, words
from safetensors import safe_open

from robnet_zoo.zoo.registry import list_models

MOST_BYTES = 20_000_000
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
def home(wheel, tmp_path_factory):
    """The new environment's folder."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python"]
    install = [*pip, "install", "--no-index", "--no-deps", wheel]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    return folder


@pytest.fixture(scope="module")
def installed(home):
    """The folder that the package was installed into."""
    (found,) = home.glob("lib/python*/site-packages/robnet_zoo")
    return found


def run(command, folder):
    done = subprocess.run(
        command,
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(home, folder, *arguments):
    return run([home / "bin" / "python", *arguments], folder)


def test_the_wheel_is_small_and_whole(wheel, installed):
    assert wheel.stat().st_size < MOST_BYTES
    package = ROOT / "robnet_zoo"
    listing = ["git", "-C", package, "ls-files", "-z"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    tracked = [name for name in done.stdout.split("\0") if name and (package / name).exists()]
    assert tracked or not (ROOT / ".git").exists()
    missing = [name for name in tracked if not (installed / name).is_file()]
    assert missing == []
    assert not list((installed / "zoo" / "pretrained").glob("*/*.svg"))


def test_every_packaged_file_opens(installed):
    kinds = set()
    for path in installed.rglob("*"):
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
    assert (installed / "py.typed").exists()


def test_importing_is_fast_and_leaves_torch_alone(home, installed, tmp_path):
    code = """
import sys, time
start = time.perf_counter()
import robnet_zoo
print(time.perf_counter() - start, "torch" in sys.modules, robnet_zoo.__file__)
"""
    runs = [python(home, tmp_path, "-c", code).split() for _ in range(3)]
    assert {(torch, file) for _, torch, file in runs} == {("False", str(installed / "__init__.py"))}
    assert min(float(seconds) for seconds, _, _ in runs) < 0.3


def test_the_console_command_knows_the_embedded_weights(home, tmp_path):
    """And none of a checkout's weights/."""
    shown = run([home / "bin" / "robnet-zoo", "list", "--pretrained"], tmp_path)
    embedded = {path.name for path in (ROOT / "robnet_zoo" / "zoo" / "pretrained").glob("*.*")}
    assert embedded <= set(list_models(pretrained=True))
    assert embedded == {line.split()[0] for line in shown.splitlines() if "." in line.split()[0]}


def test_the_quick_start_runs_from_the_wheel(home, tmp_path):
    *_, install, attack = blocks(README)[0].commands
    assert install.startswith("python -m pip install '.[eval]' --extra-index-url")
    module, options = words(attack)
    shown = python(home, tmp_path, "-m", module, *options, "--n", "16", "--device", "cpu")
    assert "racl.digits" in shown
    (record,) = (Path(tmp_path) / "runs" / "eval").glob("*.json")
    found = json.loads(record.read_text())
    assert found["data"]["n"] == 16
    assert found["attacks"][0]["name"] == "pgd100"
    assert found["clean"]["accuracy"]["accuracy"] > 0.8
