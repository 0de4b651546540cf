"""A built site published as a static Space, to a server on loopback."""

import json
import re

import pytest
from helpers.mini_hub import TOKEN, Client, mini_hub
from huggingface_hub import SpaceCard

from robnet_zoo.cli.main import main
from robnet_zoo.zoo.hub import PINS

COMMANDS = """
import sys
from robnet_zoo.cli.main import main
for line in sys.argv[1].split(";"):
    if code := main(line.split()):
        raise SystemExit(code)
"""


@pytest.fixture
def site(tmp_path):
    """A built site: pages, a folder of them and a large file."""
    folder = tmp_path / "site"
    (folder / "models").mkdir(parents=True)
    for name in ("index.html", "models/racl.html", "models/gone.html"):
        (folder / name).write_text(f"<title>{name}</title>")
    (folder / "picture.png").write_bytes(bytes(range(256)) * 50)
    return folder


def changes(output):
    found = re.findall(r"^  (new|changed|same|removed) +(\S+)$", output, re.MULTILINE)
    return [change for change in found if change[0] != "same"]


def test_a_site_becomes_a_static_space_and_the_space_follows_it(site, tmp_path):
    pages = {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*.*")}
    every = [("new", name) for name in sorted({*pages, "README.md"})]
    command = f"publish {site} --org org --space zoo"
    with mini_hub() as hub:
        client = Client(hub, tmp_path)
        shown = client.everything(f"{command};{command} --yes", COMMANDS, HF_TOKEN=TOKEN)
        dry, sent = shown.split("nothing was sent")
        assert f"{site} -> org/zoo (not there yet)" in dry
        assert changes(dry) == changes(sent) == every
        assert not (site / "README.md").exists()  # the folder itself is left alone
        (repository,) = hub.repositories
        assert repository == "spaces/org/zoo"
        space = hub.repositories[repository]
        assert space.sdk == "static"
        first = space.commits[space.newest]
        card = SpaceCard(first["README.md"].decode()).data
        assert (card.sdk, card.app_file, card.title) == ("static", "index.html", "zoo")
        assert first == {**pages, "README.md": first["README.md"]}

        (site / "models" / "gone.html").unlink()
        (site / "index.html").write_text("another")
        (site / "README.md").write_text("---\ntitle: Mine\nsdk: static\n---\n# My site\n")
        again = client.everything(f"{command} --yes;{command} --yes", COMMANDS, HF_TOKEN=TOKEN)
        assert changes(again) == [
            ("changed", "README.md"),
            ("changed", "index.html"),
            ("removed", "models/gone.html"),
        ]
        assert len(space.commits) == 2
        second = space.commits[space.newest]
        assert second.keys() == first.keys() - {"models/gone.html"}
        assert second["README.md"] == (site / "README.md").read_bytes()


def refusal(capsys, *folders):
    assert main(["publish", *map(str, folders), "--org", "org", "--space", "zoo"]) == 2
    return capsys.readouterr().err


def test_a_space_is_one_built_site(site, capsys):
    assert "holds no index.html" in refusal(capsys, site / "models")
    assert "these are 2 folders" in refusal(capsys, site, site / "models")


@pytest.mark.parametrize("card", ["# My site\n", "---\ntitle: Mine\n---\nsdk: static\n---\n"])
def test_a_site_s_own_card_must_be_a_static_space_s(site, capsys, card):
    (site / "README.md").write_text(card)
    assert "begin it with the lines ---, sdk: static" in refusal(capsys, site)


def test_the_card_names_the_weights_of_the_same_owner(monkeypatch, tmp_path):
    from robnet_zoo.zoo import hub, space

    pin = {"revision": "0" * 40, "sha256": "0" * 64}
    entries = {"a.b": pin | {"repository": "org/a.b"}, "c.d": pin | {"repository": "other/c.d"}}
    path = tmp_path / PINS.name
    path.write_text(json.dumps(entries))
    monkeypatch.setattr(hub, "PINS", path)
    assert SpaceCard(space.space_card("org/zoo")).data.models == ["org/a.b"]
