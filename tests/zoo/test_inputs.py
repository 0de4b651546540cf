"""Weights know what pictures become for them, and what their classes are called."""

import json

import pytest
import torch
from helpers.tiny_weights import edit_config, save_tiny

from robnet_zoo import create_model, get_weights
from robnet_zoo.data import load_split, to_float
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo import Transform, transform
from robnet_zoo.zoo.classes import class_names
from robnet_zoo.zoo.registry import natural_twin
from robnet_zoo.zoo.weights import read_weights

NAMES = [f"number {digit}" for digit in range(10)]


@pytest.fixture
def folder(tmp_path):
    save_tiny(tmp_path / "racl.tiny")
    return tmp_path / "racl.tiny"


@pytest.fixture(autouse=True)
def _without_drawings(monkeypatch):
    """Leave out cell.svg, which takes longer than all else here."""
    monkeypatch.setattr("robnet_zoo.plotting.cells.draw", lambda *arguments: None)


def load(folder, **options):
    return create_model(f"local-dir:{folder}", **options)


def test_a_transform_gives_what_the_network_was_evaluated_on():
    _, split = load_split("digits", "test")
    image = split.images(torch.tensor([0]))
    known = transform("racl.digits")
    assert torch.equal(known(image[0, 0].numpy())[None], to_float(image))
    assert known == transform(get_weights("racl.digits")) == Transform(8, 1)


@pytest.mark.filterwarnings("ignore::robnet_zoo.zoo.PretrainedWarning")
def test_a_network_knows_its_transform_also_when_it_was_adapted(folder):
    assert load(folder).transform() == transform(f"local-dir:{folder}") == Transform(8, 1)
    assert load(folder, in_channels=3, image_size=16).transform() == Transform(16, 3)
    with pytest.raises(ZooError, match=r"not loaded from weights.*Transform\(image_size=32"):
        create_model("racl", channels=4, layers=3).transform()


def test_imagenet_keeps_the_centre_that_its_evaluation_keeps(folder):
    edit_config(folder, dataset="imagenet", image_size=224)
    assert transform(f"local-dir:{folder}").crop == 224 / 256


def test_classes_are_called_as_config_says_else_as_the_data_set_does(folder):
    assert class_names(read_weights(folder)) == tuple("0123456789")
    edit_config(folder, class_names=NAMES)
    assert class_names(read_weights(folder)) == tuple(NAMES)
    edit_config(folder, class_names=NAMES[:9])
    with pytest.raises(ZooError, match="10 classes and class_names of 9"):
        class_names(read_weights(folder))


def test_unknown_classes_are_numbered(folder):
    edit_config(folder, dataset="my-own")
    assert class_names(read_weights(folder))[:2] == ("class 0", "class 1")


@pytest.mark.filterwarnings("ignore::robnet_zoo.zoo.PretrainedWarning")
def test_saving_keeps_the_names_of_the_same_classes_only(folder, tmp_path):
    def saved(model, **options):
        model.save_pretrained(tmp_path / "racl.saved", **options)
        return json.loads((tmp_path / "racl.saved" / "config.json").read_text())

    assert "class_names" not in saved(load(folder))
    assert saved(load(folder), config={"class_names": NAMES})["class_names"] == NAMES
    edit_config(folder, class_names=NAMES)
    assert saved(load(folder))["class_names"] == NAMES
    assert "class_names" not in saved(load(folder, num_classes=5))
    assert "class_names" not in saved(load(folder), config={"dataset": "svhn"})
    with pytest.raises(ZooError, match="class_names of 2"):
        saved(load(folder), config={"class_names": NAMES[:2]})


def test_a_twin_is_the_same_network_trained_naturally(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("robnet_zoo.zoo.weights.EMBEDDED", tmp_path)
    weights = read_weights(folder)
    assert natural_twin(weights) is None
    twin = tmp_path / "racl.tiny-natural"
    save_tiny(twin)
    assert natural_twin(weights) is None  # its config.json says nothing of the sort
    edit_config(twin, training={"recipe": "natural"})
    assert natural_twin(weights).folder == twin
    edit_config(folder, dataset="mnist")
    assert natural_twin(read_weights(folder)) is None
