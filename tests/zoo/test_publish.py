"""Publishing from a checkout to a server on loopback, and what the registry then gives."""

import json
import re
import shutil

import pytest
import yaml
from helpers.mini_hub import ROOT, TOKEN, Client, Fault, mini_hub
from helpers.tiny_weights import edit_config, save_tiny

from robnet_zoo.cli.main import main

pytestmark = pytest.mark.slow

RESULTS = ".eval_results/robnet_zoo.yaml"
FILES = [RESULTS, "README.md", "cell.svg", "config.json", "model.safetensors"]
COMMANDS = """
import sys
from robnet_zoo.cli.main import main
for line in sys.argv[1].split(";"):
    if code := main(line.split()):
        raise SystemExit(code)
"""
PUBLISH = "publish weights/racl.tiny weights/notes.txt --org org"


@pytest.fixture(scope="module")
def hub():
    with mini_hub() as server:
        yield server


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout with one set of weights."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__", "pretrained")
    shutil.copytree(ROOT / "robnet_zoo", root / "robnet_zoo", ignore=ignored)
    for name in ("pyproject.toml", "hubconf.py"):
        shutil.copy(ROOT / name, root)
    save_tiny(root / "weights" / "racl.tiny")
    (root / "weights" / "notes.txt").touch()
    return root


@pytest.fixture(scope="module")
def published(hub, checkout, tmp_path_factory):
    """The output of a dry run and of publishing twice, the checkout's weights gone afterwards."""
    client = Client(hub, tmp_path_factory.mktemp("home"), checkout)
    dry = client.everything(PUBLISH, COMMANDS)
    assert not hub.asked("POST")
    assert not hub.repositories
    assert json.loads((checkout / "robnet_zoo" / "zoo" / "pins.json").read_text()) == {}
    sent = client.everything(f"{PUBLISH} --yes;{PUBLISH}", COMMANDS, HF_TOKEN=TOKEN)
    edit_config(checkout / "weights" / "racl.tiny", results={})
    changed = client.everything(f"{PUBLISH};{PUBLISH} --yes", COMMANDS, HF_TOKEN=TOKEN)
    again = client.everything(f"{PUBLISH} --yes", COMMANDS, HF_TOKEN=TOKEN)
    (checkout / "weights").rename(checkout / "elsewhere")
    return {"dry": dry, "sent": sent, "changed": changed, "again": again}


def states(output):
    return re.findall(r"^  (new|changed|same|removed) +(\S+)$", output, re.MULTILINE)


def test_a_dry_run_says_what_would_change(published):
    assert states(published["dry"]) == [("new", name) for name in FILES]
    assert "weights/racl.tiny -> org/racl.tiny (not there yet)" in published["dry"]
    assert "nothing was sent; add --yes" in published["dry"]


def test_what_is_published_is_the_folder_with_card_and_drawing(published, hub, checkout):
    first, second = hub.repositories["org/racl.tiny"].commits.values()
    assert sorted(first) == FILES
    assert sorted(second) == FILES[1:]  # without results, as config.json has none any more
    assert {entry["value"] for entry in yaml.safe_load(first[RESULTS])} == {0.953, 0.704}
    folder = checkout / "elsewhere" / "racl.tiny"
    for name in ("config.json", "model.safetensors"):
        assert second[name] == (folder / name).read_bytes()
    assert b"hf-hub:org/racl.tiny" in second["README.md"]
    assert second["cell.svg"].startswith(b"<?xml")
    assert not (folder / "README.md").exists()  # the folder itself is left alone


def test_only_what_differs_is_told_and_sent(published, hub):
    assert states(published["sent"])[len(FILES) :] == [("same", name) for name in FILES]
    differing = {"README.md": "changed", "config.json": "changed"}
    expected = [(differing.get(name, "same"), name) for name in FILES[1:]]
    expected.append(("removed", RESULTS))
    assert states(published["changed"])[: len(FILES)] == expected
    assert {state for state, _ in states(published["again"])} == {"same"}
    assert len(hub.repositories["org/racl.tiny"].commits) == 2


def test_what_is_published_is_pinned(published, hub, checkout):
    config = json.loads((checkout / "elsewhere" / "racl.tiny" / "config.json").read_text())
    assert json.loads((checkout / "robnet_zoo" / "zoo" / "pins.json").read_text()) == {
        "racl.tiny": {
            "repository": "org/racl.tiny",
            "revision": hub.repositories["org/racl.tiny"].newest,
            "sha256": config["sha256"],
        }
    }


@pytest.fixture
def client(published, hub, checkout, tmp_path):
    return Client(hub, tmp_path, checkout)


def test_listing_asks_the_hub_nothing(client, hub):
    before = len(hub.requests)
    shown = client.everything("list --pretrained;info racl", COMMANDS)
    assert "racl.tiny" in shown
    assert f"hf-hub:org/racl.tiny@{hub.repositories['org/racl.tiny'].newest}" in shown
    assert "robnet-zoo download racl.tiny" in shown
    assert len(hub.requests) == before


def test_pinned_weights_are_fetched_by_name_and_kept(client, hub, tmp_path):
    out = tmp_path / "copy"
    shown = client.everything(f"download racl.tiny --out {out};info racl", COMMANDS)
    assert "checked" in shown
    assert "not evaluated yet" in shown  # what config.json says is known now
    before = len(hub.requests)
    again = f"info local-dir:{out};download racl.tiny"
    assert str(out) in client.everything(again, COMMANDS, HF_HUB_OFFLINE="1")
    assert len(hub.requests) == before


def test_a_cached_copy_is_held_against_the_pin(client, hub, files_of_another):
    client.everything("download racl.tiny", COMMANDS)
    (folder,) = client.cache.glob("models--*/snapshots/*")
    for name, content in files_of_another.items():
        (folder / name).write_bytes(content)
    line = client.fail("download racl.tiny", COMMANDS, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in line
    assert client.held() == []


@pytest.mark.slow
def test_torch_hub_gives_pinned_weights(client):
    code = """
import sys, torch, hubconf
print(getattr(hubconf, sys.argv[1]).__doc__)
model = torch.hub.load(".", sys.argv[1], source="local", pretrained=True, verify=True)
print("loaded", model.config["name"])
"""
    shown = client.everything("racl", code)
    assert "robnet-zoo download racl.tiny" in shown
    assert "loaded racl.tiny" in shown
    assert "Linf 0.15" in client.everything("racl", code, HF_HUB_OFFLINE="1")


@pytest.fixture
def files_of_another(tmp_path):
    """A weights folder's files, sound but not those that are pinned."""
    folder = save_tiny(tmp_path / "racl.tiny")[1].folder
    return {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}


def test_what_cannot_be_had_is_told_with_all_that_was_tried(client, hub):
    line = client.fail("download racl.tiny", COMMANDS, HF_HUB_OFFLINE="1")
    for words in ("racl.tiny is not embedded", "weights/", str(client.cache), "HF_HUB_OFFLINE"):
        assert words in line


def test_a_repository_that_changed_behind_the_pin_is_refused(client, hub):
    repository = hub.repositories["org/racl.tiny"]
    pinned, other = repository.newest, next(iter(repository.commits))
    kept = repository.commits[pinned]
    config = json.loads(kept["config.json"]) | {"sha256": "0" * 64}
    repository.commits[pinned] = kept | {"config.json": json.dumps(config).encode()}
    line = client.fail("download racl.tiny", COMMANDS)
    assert "altered" in line
    assert client.held() == []
    repository.commits[pinned] = kept
    assert pinned != other


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_publishing_needs_a_token(hub, client, checkout, token):
    settings = {} if token is None else {"HF_TOKEN": token}
    command = "publish elsewhere/racl.tiny --org other --yes"
    line = client.fail(command, COMMANDS, **settings)
    assert "'other/racl.tiny'" in line
    assert "hf auth login" in line


def test_damaged_weights_are_not_published(tmp_path, capsys):
    folder = save_tiny(tmp_path / "racl.tiny")[1].folder
    (folder / "model.safetensors").write_bytes(b"")
    assert main(["publish", str(folder), "--org", "org"]) == 2
    assert "truncated" in capsys.readouterr().err


def test_there_must_be_a_folder_to_publish(capsys):
    assert main(["publish", str(ROOT / "pyproject.toml"), "--org", "org"]) == 2
    assert "no weights folder" in capsys.readouterr().err


def test_a_hub_that_fails_is_told(hub, client):
    hub.faults.append(Fault("GET", "/api/models/", status=501))
    assert "501" in client.fail("publish elsewhere/racl.tiny --org org", COMMANDS)
