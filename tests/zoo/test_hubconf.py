import os
import runpy
import subprocess
import sys
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from helpers.mini_hub import ROOT
from helpers.tiny_weights import TINY, save_tiny

from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.registry import default_tag, get_weights

pytestmark = pytest.mark.slow

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
for name in DEPENDENCIES:
    with_requirements(name, kept)
hidden = {
    module
    for module, owners in metadata.packages_distributions().items()
    if not {re.sub("[-_.]+", "-", owner).lower() for owner in owners} & kept
}
assert {"sklearn", "matplotlib", "torchattacks"} <= hidden

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        absent = fullname.partition(".")[0] in hidden
        return None if absent else PathFinder.find_spec(fullname, path, target)

sys.meta_path = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
""".replace("DEPENDENCIES", repr(runpy.run_path(str(ROOT / "hubconf.py"))["dependencies"]))

# torch.hub asks github.com and nothing else; its requests go to a server on loopback.
FROM_LOOPBACK = """
from urllib import request

class Loopback(request.HTTPSHandler):
    def https_open(self, asked):
        assert asked.host == "github.com", asked.full_url
        return request.urlopen(sys.argv[2] + asked.selector)

request.install_opener(request.build_opener(Loopback))
"""
LOAD_ALL = """
import os
import torch
options = {"skip_validation": True, "trust_repo": True, "verbose": False}
torch.hub.set_dir(sys.argv[1])
assert not os.listdir(sys.argv[1])
for name in torch.hub.list(REPOSITORY, **options):
    import robnet_zoo
    assert robnet_zoo.__file__.startswith(sys.argv[1]), robnet_zoo.__file__
    try:
        model = torch.hub.load(REPOSITORY, name, pretrained=True, verify=True, **options)
        print(name, "training" if model.training else "loaded")
    except robnet_zoo.runtime.errors.ZooError as error:
        print(name, error)
""".replace("REPOSITORY", repr(REPOSITORY))


@pytest.fixture(autouse=True)
def restored_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The address of a server that has the repository's zip where GitHub has it."""
    listing = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("the tests do not run in a git checkout")
    folder = tmp_path_factory.mktemp("github")
    place = folder / "robnet-zoo" / "robnet_zoo" / "zipball" / "main"
    place.parent.mkdir(parents=True)
    with zipfile.ZipFile(place, "w") as archive:
        archive.mkdir("robnet-zoo-robnet_zoo-0123abc")
        for name in done.stdout.split("\0"):
            if name and (ROOT / name).is_file():
                archive.write(ROOT / name, f"robnet-zoo-robnet_zoo-0123abc/{name}")
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def loaded(archive, tmp_path_factory):
    """A torch.hub cache that was empty, and what loading every entry into it printed."""
    cache = tmp_path_factory.mktemp("torch-hub")
    code = ONLY_DEPENDENCIES + FROM_LOOPBACK + LOAD_ALL
    done = subprocess.run(
        [sys.executable, "-c", code, cache, archive],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    download, *told = done.stdout.splitlines()
    assert download.startswith("Downloading")
    return cache, dict(line.split(" ", 1) for line in told)


@pytest.fixture
def hub(loaded, monkeypatch):
    """The options that make torch.hub take the repository that was downloaded."""
    cache, _ = loaded
    monkeypatch.setenv("TORCH_HOME", str(cache))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(cache))
    yield {"skip_validation": True, "trust_repo": True}
    torch.hub.set_dir(before)


def test_the_list_holds_the_architectures_and_nothing_else(hub):
    assert sorted(torch.hub.list(REPOSITORY, verbose=False, **hub)) == sorted(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_help_tells_paper_size_and_results(hub, name):
    text = " ".join(torch.hub.help(REPOSITORY, name, **hub).split())
    known = ARCHITECTURES[name]
    for word in (known.paper.place, f"{known.parameters:,}", known.status, "pixels in [0,1]"):
        assert word in text
    if (tag := default_tag(name)) is not None:
        weights = get_weights(name, tag)
        assert f"{weights.dataset} against Linf {weights.threat_model['epsilon']}" in text
        for value in weights.accuracies.values():
            assert f"{100 * value['accuracy']:.1f} %" in text


def test_every_entry_loads_from_the_zip_with_the_dependencies_alone(loaded):
    _, told = loaded
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
