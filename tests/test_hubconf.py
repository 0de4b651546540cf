import sys
from pathlib import Path

import pytest
import torch
from tiny_weights import TINY, save_tiny

import robnet_zoo
from robnet_zoo import list_models
from robnet_zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo import default_tag, get_weights

ROOT = Path(robnet_zoo.__file__).parents[1]
REPOSITORY = "robnet-zoo/robnet_zoo:main"


@pytest.fixture(autouse=True)
def restored_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A torch.hub cache that already holds the repository, so that nothing is downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    (tmp_path / "robnet-zoo_robnet_zoo_main").symlink_to(ROOT)
    yield {"skip_validation": True, "trust_repo": True}
    torch.hub.set_dir(before)


def test_the_list_holds_the_architectures_and_nothing_else(hub):
    assert sorted(torch.hub.list(REPOSITORY, **hub)) == sorted(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_help_tells_paper_size_and_results(hub, name):
    text = torch.hub.help(REPOSITORY, name, **hub)
    known = ARCHITECTURES[name]
    for word in (known.paper.arxiv, f"{known.parameters:,}", known.status, "pixels in [0,1]"):
        assert word in text
    if (tag := default_tag(name)) is not None:
        weights = get_weights(name, tag)
        assert weights.threat_model["epsilon"] in text
        for value in weights.accuracies.values():
            assert f"{100 * value['accuracy']:.1f} %" in text


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


@pytest.mark.parametrize(
    "name", sorted({n.partition(".")[0] for n in list_models(pretrained=True)})
)
def test_pretrained_entries_load(name):
    model = torch.hub.load(str(ROOT), name, source="local", pretrained=True, verify=True)
    assert not model.training
