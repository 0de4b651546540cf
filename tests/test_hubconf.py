import os
import subprocess
import sys
import zipfile

import pytest
import torch
from mini_hub import ROOT
from tiny_weights import TINY, save_tiny

from robnet_zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo import default_tag, get_weights

REPOSITORY = "robnet-zoo/robnet_zoo:main"

# Hides every installed package that `dependencies` of hubconf.py does not bring with it.
ONLY_DEPENDENCIES = """
import re, sys
from importlib import metadata
from importlib.machinery import PathFinder

def with_requirements(name, found):
    name = re.sub("[-_.]+", "-", name).lower()
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return  # of another platform
    if name not in found:
        found.add(name)
        for line in lines:
            if "extra ==" not in line:
                with_requirements(re.match(r"[\\w.-]+", line)[0], found)

kept = {"robnet-zoo"}
for name in ("torch", "torchvision", "numpy", "safetensors"):
    with_requirements(name, kept)
hidden = {
    module
    for module, owners in metadata.packages_distributions().items()
    if not {re.sub("[-_.]+", "-", owner).lower() for owner in owners} & kept
}
assert {"huggingface_hub", "rich", "sklearn", "matplotlib"} <= hidden

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        absent = fullname.partition(".")[0] in hidden
        return None if absent else PathFinder.find_spec(fullname, path, target)

sys.meta_path = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
"""
LOAD_ALL = """
import torch
options = {"skip_validation": True, "trust_repo": True, "verbose": False}
torch.hub.set_dir(sys.argv[1])
for name in torch.hub.list(REPOSITORY, **options):
    import robnet_zoo
    assert robnet_zoo.__file__.startswith(sys.argv[1]), robnet_zoo.__file__
    try:
        model = torch.hub.load(REPOSITORY, name, pretrained=True, verify=True, **options)
        print(name, "training" if model.training else "loaded")
    except robnet_zoo.errors.ZooError as error:
        print(name, error)
""".replace("REPOSITORY", repr(REPOSITORY))


@pytest.fixture(autouse=True)
def restored_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A torch.hub cache that holds a zip of the repository, unpacked as torch.hub does."""
    folder = tmp_path_factory.mktemp("torch-hub")
    listing = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    parts = ["hubconf.py", "pyproject.toml", "robnet_zoo", "weights"]
    done = subprocess.run([*listing, *parts], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("the tests do not run in a git checkout")
    with zipfile.ZipFile(folder / "main.zip", "w") as archive:
        for name in done.stdout.split("\0"):
            if name and (ROOT / name).exists():
                archive.write(ROOT / name, f"robnet-zoo_robnet_zoo_main/{name}")
    with zipfile.ZipFile(folder / "main.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def hub(cache, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(cache))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(cache))
    yield {"skip_validation": True, "trust_repo": True, "verbose": False}
    torch.hub.set_dir(before)


def test_the_list_holds_the_architectures_and_nothing_else(hub):
    assert sorted(torch.hub.list(REPOSITORY, **hub)) == sorted(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_help_tells_paper_size_and_results(hub, name):
    hub.pop("verbose")
    text = torch.hub.help(REPOSITORY, name, **hub)
    known = ARCHITECTURES[name]
    for word in (known.paper.arxiv, f"{known.parameters:,}", known.status, "pixels in [0,1]"):
        assert word in text
    if (tag := default_tag(name)) is not None:
        weights = get_weights(name, tag)
        assert weights.threat_model["epsilon"] in text
        for value in weights.accuracies.values():
            assert f"{100 * value['accuracy']:.1f} %" in text


def test_every_entry_loads_from_the_zip_with_the_dependencies_alone(cache, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ONLY_DEPENDENCIES + LOAD_ALL, str(cache)],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert told.keys() == ARCHITECTURES.keys()
    for name, text in told.items():
        if default_tag(name) is None:
            assert f"No weights of {name}" in text
        else:
            assert text == "loaded"


@pytest.mark.parametrize("name", ["racl", "robnet_large", "arnas"])
def test_entries_take_the_overrides(name):
    model = torch.hub.load(str(ROOT), name, source="local", **TINY, num_classes=5)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 5)


def test_entries_take_weights(tmp_path):
    network, weights = save_tiny(tmp_path / "racl.tiny")
    folder = str(weights.folder)
    loaded = torch.hub.load(str(ROOT), "racl", source="local", weights=folder, verify=True)
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(loaded(images), network.eval()(images), rtol=0.02, atol=0.02)
