"""The project's page: its version, its addresses, and the names that an upgrade changes."""

import importlib
import re
import tomllib

import pytest
import yaml
from helpers.documents import README, ROOT

import robnet_zoo
from robnet_zoo.zoo.results import PROJECT

METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
UPGRADING = (ROOT / "UPGRADING.md").read_text("utf-8")
NAMES = re.findall(
    r"^\| `(robnet_zoo\.[\w.]+)` \| `(robnet_zoo\.[\w.]+)` \|$", UPGRADING, re.MULTILINE
)


def test_one_version_is_told_everywhere():
    assert METADATA["project"]["dynamic"] == ["version"]
    assert METADATA["tool"]["hatch"]["version"]["path"] == "robnet_zoo/__init__.py"
    (newest, *_) = re.findall(r"^## From [\d.]+ to ([\d.]+)$", UPGRADING, re.MULTILINE)
    assert newest == robnet_zoo.__version__


def test_the_project_has_one_address():
    urls = METADATA["project"]["urls"]
    assert urls["Homepage"] == urls["Repository"] == PROJECT
    assert all(url.startswith(PROJECT) for url in urls.values())
    for place in ("Documentation", "Changelog"):
        path = re.sub(r"^/(?:tree|blob)/main/", "", urls[place].removeprefix(PROJECT))
        assert (ROOT / path).exists()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["repository-code"] == PROJECT
    assert re.findall(r"git clone (\S+)", README) == [PROJECT]


def test_the_pythons_are_the_same_everywhere():
    listed = re.findall(r":: (3\.\d+)", " ".join(METADATA["project"]["classifiers"]))
    assert METADATA["project"]["requires-python"] == f">={listed[0]}"
    assert f"Python {listed[0]} to {listed[-1]}." in README


def look_up(name):
    """Return what a dotted name stands for, importing as much of it as are modules."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            value = getattr(value, part)
        return value
    raise AttributeError(name)


@pytest.mark.parametrize(("old", "new"), NAMES)
def test_an_old_name_is_gone_and_the_new_one_exists(old, new):
    assert callable(look_up(new)) or look_up(new)
    with pytest.raises(AttributeError):
        look_up(old)


def test_upgrading_has_names_to_check():
    assert len(NAMES) > 10
