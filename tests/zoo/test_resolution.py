"""The order in which a name's weights are looked for: every place holds others."""

import json
import shutil

import pytest
from helpers.mini_hub import ROOT, Client, mini_hub
from helpers.tiny_weights import edit_config, save_tiny

GET = """
import sys
from robnet_zoo import get_weights
from robnet_zoo.runtime import console
run = lambda: print(get_weights(*sys.argv[1].split()).training["place"])
raise SystemExit(console.run(run))
"""
FILES = ("config.json", "model.safetensors")


def place(folder, name):
    save_tiny(folder)
    edit_config(folder, training={"place": name})
    return folder


@pytest.fixture
def hub(tmp_path):
    with mini_hub() as server:
        folder = place(tmp_path / "sent" / "racl.tiny", "Hub")
        files = {name: (folder / name).read_bytes() for name in FILES}
        server.repositories["org/racl.tiny"].commit(files)
        yield server


@pytest.fixture
def checkout(hub, tmp_path):
    root = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "pretrained")
    shutil.copytree(ROOT / "robnet_zoo", root / "robnet_zoo", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    place(root / "robnet_zoo" / "zoo" / "pretrained" / "racl.tiny", "package")
    place(root / "weights" / "racl.tiny", "checkout")
    place(root / "elsewhere", "folder")
    newest = hub.repositories["org/racl.tiny"].newest
    config = json.loads(hub.repositories["org/racl.tiny"].commits[newest]["config.json"])
    pin = {"repository": "org/racl.tiny", "revision": newest, "sha256": config["sha256"]}
    (root / "robnet_zoo" / "zoo" / "pins.json").write_text(json.dumps({"racl.tiny": pin}))
    return root


def test_the_order_is_folder_package_checkout_cache_hub(hub, checkout, tmp_path):
    client = Client(hub, tmp_path / "home", checkout)
    assert client.run("racl ./elsewhere", GET) == "folder"
    for name in ("racl", "racl tiny", "racl.tiny"):
        assert client.run(name, GET) == "package"
    shutil.rmtree(checkout / "robnet_zoo" / "zoo" / "pretrained")
    assert client.run("racl", GET) == "checkout"
    shutil.rmtree(checkout / "weights")
    assert hub.requests == []
    assert client.run("racl", GET) == "Hub"
    asked = len(hub.requests)
    assert asked > 0
    assert client.run("racl", GET) == client.run("racl", GET, HF_HUB_OFFLINE="1") == "Hub"
    assert len(hub.requests) == asked  # the cache came first
    shutil.rmtree(client.cache)
    line = client.fail("racl", GET, HF_HUB_OFFLINE="1")
    for words in ("not embedded", "checkout's weights/", str(client.cache), "unset it"):
        assert words in line


def test_damaged_weights_are_not_passed_over_for_others(hub, checkout, tmp_path):
    client = Client(hub, tmp_path / "home", checkout)
    (checkout / "robnet_zoo" / "zoo" / "pretrained" / "racl.tiny" / "config.json").write_text("{")
    assert "is not JSON" in client.fail("racl", GET)
    assert hub.requests == []
