"""Pretrained networks changed for other data, and that what is saved always loads."""

import json
import warnings

import pytest
import torch
from helpers.tiny_weights import TINY, save_tiny
from torch import nn

from robnet_zoo import create_model
from robnet_zoo.genotypes import genotype_to_dict, published
from robnet_zoo.models.features import FeatureMaps
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo import Network, PretrainedWarning
from robnet_zoo.zoo.weights import read_weights

TRAINED = {
    "dataset": "digits",
    "image_size": 8,
    "threat_model": {"name": "digits", "norm": "Linf", "epsilon": "0.15"},
}
GREY = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _without_drawings(monkeypatch):
    """Leave out cell.svg, which takes longer than all else here."""
    monkeypatch.setattr("robnet_zoo.plotting.cells.draw", lambda *arguments: None)


@pytest.fixture
def folder(tmp_path):
    return save_tiny(tmp_path / "racl.tiny")[1].folder


def adapted(folder, **overrides):
    """Load with overrides, and return the model and the one sentence that was said."""
    with pytest.warns(PretrainedWarning) as caught:
        model = create_model(f"local-dir:{folder}", **overrides)
    (warning,) = caught
    assert warning.filename == __file__
    return model, str(warning.message)


def test_other_classes_keep_the_backbone(folder):
    model, said = adapted(folder, num_classes=5)
    assert "a new, untrained classifier for 5 classes" in said
    original = create_model(f"local-dir:{folder}")
    assert torch.equal(model.forward_features(GREY), original.forward_features(GREY))
    assert model(GREY).shape == (2, 5)
    assert not model.training
    assert model.config["arguments"]["num_classes"] == 5


def test_colour_images_of_a_grey_network_give_what_grey_ones_did(folder):
    model, said = adapted(folder, in_channels=3)
    assert "repeated and scaled to read 3 channel(s)" in said
    colour = GREY.expand(-1, 3, -1, -1)
    torch.testing.assert_close(model(colour), create_model(f"local-dir:{folder}")(GREY))


def test_grey_images_of_a_colour_network_give_what_colour_ones_did(tmp_path):
    folder = save_tiny(tmp_path / "racl.colour", in_channels=3)[1].folder
    model, said = adapted(folder, in_channels=1)
    assert "added up to read 1 channel(s)" in said
    original = create_model(f"local-dir:{folder}")
    torch.testing.assert_close(model(GREY), original(GREY.expand(-1, 3, -1, -1)))


def test_another_side_of_the_images_is_said_and_kept(folder, tmp_path):
    model, said = adapted(folder, image_size=16)
    assert "images of 16x16 instead of 8x8" in said
    assert model(torch.rand(1, 1, 16, 16)).shape == (1, 10)
    model.save_pretrained(tmp_path / "larger")
    assert read_weights(tmp_path / "larger").image_size == 16
    with pytest.raises(ZooError, match="image_size=10 is not possible"):
        create_model(f"local-dir:{folder}", image_size=10)


def test_what_is_as_in_the_weights_is_not_commented_on(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_model(f"local-dir:{folder}", num_classes=10, in_channels=1, image_size=8)
        Network.from_pretrained(folder, num_classes=10)


@pytest.mark.parametrize("overrides", [{"num_classes": 0}, {"in_channels": True}, {"clases": 5}])
def test_values_that_cannot_be_are_refused(folder, overrides):
    with pytest.raises(ZooError, match=next(iter(overrides))):
        create_model(f"local-dir:{folder}", **overrides)


def test_an_auxiliary_head_is_not_made_up(folder):
    with pytest.raises(ZooError, match="auxiliary=False"):
        create_model(f"local-dir:{folder}", auxiliary=True, image_size=16)


def test_maps_of_pretrained_networks(folder):
    maps = create_model(f"local-dir:{folder}", features_only=True, out_indices=(0, -1))
    assert isinstance(maps, FeatureMaps)
    original = create_model(f"local-dir:{folder}")
    first, last = maps(GREY)
    assert torch.equal(last, original.forward_features(GREY))
    assert maps.feature_info.reduction() == [1, 4]
    assert [first.shape[1], last.shape[1]] == maps.feature_info.channels()
    assert not any("classifier" in name for name, _ in maps.named_parameters())
    with pytest.raises(ZooError, match="use 0 to 2"):
        create_model("racl", **TINY, features_only=True, out_indices=[3])


def _genotype_file(tmp_path):
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(genotype_to_dict(published("advrush"))))
    return create_model(f"cells:{path}", **TINY)


def _own_layer(tmp_path):
    model = create_model("racl", **TINY)
    model.classifier = nn.Linear(model.num_features, 7)
    return model


def _reset(name, **sizes):
    def make(tmp_path):
        model = create_model(name, **sizes)
        model.reset_classifier(3)
        model.reset_in_channels(1)
        return model

    return make


def _adapted(tmp_path):
    save_tiny(tmp_path / "racl.colour", in_channels=3)
    with pytest.warns(PretrainedWarning):
        return create_model(
            "racl", weights=str(tmp_path / "racl.colour"), in_channels=1, num_classes=4
        )


KINDS = {
    "as built": lambda _: create_model("racl", **TINY),
    "genotype file": _genotype_file,
    "layer of one's own": _own_layer,
    "reset": _reset("racl", channels=4, layers=3),
    "reset with auxiliary head": _reset(
        "racl", channels=4, layers=3, auxiliary=True, image_size=8, denoise=True
    ),
    "reset baseline": _reset("resnet18", channels=4),
    "adapted weights": _adapted,
    "half precision": lambda _: create_model("racl", **TINY).half(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_loads_and_computes_the_same(tmp_path, kind):
    model = KINDS[kind](tmp_path).eval()
    model.save_pretrained(tmp_path / "saved", config=TRAINED)
    loaded = create_model(f"local-dir:{tmp_path / 'saved'}", verify=True)
    assert torch.equal(loaded(GREY), model.float()(GREY))
    assert loaded.config["arguments"]["num_classes"] == model(GREY).shape[1]


def test_what_was_adapted_says_what_it_started_from(folder, tmp_path):
    model, _ = adapted(folder, num_classes=5)
    model.save_pretrained(tmp_path / "new")
    saved, original = read_weights(tmp_path / "new"), read_weights(folder)
    assert saved.results == {}
    assert saved.training == {"init": {"weights": "racl.tiny", "sha256": original.sha256}}
    assert f"Started from: racl.tiny (sha256 `{original.sha256}`" in (
        tmp_path / "new" / "README.md"
    ).read_text(encoding="utf-8")


def _without_classifier(model):
    model.reset_classifier(0)


def _other_head(model):
    model.classifier = nn.Sequential(nn.Linear(model.num_features, 10))


def _more_cells(model):
    model.cells.append(nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize("change", [_without_classifier, _other_head, _more_cells])
def test_what_would_not_load_is_not_written(tmp_path, change):
    model = create_model("racl", **TINY)
    change(model)
    with pytest.raises(ZooError, match="does not hold the tensors of racl"):
        model.save_pretrained(tmp_path / "saved", config=TRAINED)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 10**6},
        {"threat_model": "Linf"},
        {"arguments": {"channels": 8, "layers": 3, "num_classes": 10, "in_channels": 1}},
        {"genotype": None},
        {"licence": 3},
    ],
)
def test_a_description_that_would_not_load_is_not_written(tmp_path, wrong):
    model = create_model("racl", **TINY)
    with pytest.raises(ZooError):
        model.save_pretrained(tmp_path / "saved", config=TRAINED | wrong)
    assert not (tmp_path / "saved").exists()
