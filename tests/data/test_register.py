"""A data set added from outside the package: one call, and everything takes it by its name."""

from dataclasses import replace

import pytest
import torch

from robnet_zoo import create_model
from robnet_zoo.data import Dataset, dataset_info, list_datasets, load_split, register_dataset
from robnet_zoo.data.registry import ROWS
from robnet_zoo.data.splits import ArraySplit, part_of
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import get_threat_model
from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.session import train
from robnet_zoo.train.settings import Settings


def bars(**changes):
    return Dataset(
        **{
            "name": "bars",
            "num_classes": 2,
            "in_channels": 1,
            "image_size": 8,
            "class_names": ("rows", "columns"),
            "threat_model": get_threat_model("mnist").at("0.1"),
            "note": "drawn",
            "flip": False,
        }
        | changes
    )


def read_bars(part, root, download):
    """Striped images: 64 to train on, 16 to test."""
    count, seed = (16, 1) if part == "test" else (64, 0)
    stripes = torch.randint(256, (count, 1, 8, 1), generator=torch.Generator().manual_seed(seed))
    stripes = stripes.expand(-1, -1, -1, 8)
    labels = torch.arange(count) % 2
    pixels = torch.where(labels[:, None, None, None] == 0, stripes, stripes.transpose(2, 3))
    return part_of(ArraySplit(pixels.to(torch.uint8), labels), part)


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr("robnet_zoo.data.registry.ROWS", dict(ROWS))


def test_a_registered_data_set_is_read_trained_on_and_evaluated(tmp_path):
    register_dataset(bars(), read_bars)
    assert "bars" in list_datasets() and dataset_info("bars") == bars()
    dataset, images = load_split("bars", "test")
    assert dataset.class_names == ("rows", "columns") and len(images) == 16
    recipe = replace(get_recipe("fast"), epochs=1)
    settings = Settings(model="racl", dataset="bars", recipe=recipe, channels=2, layers=3)
    record = train(settings, tmp_path, save_every=300.0)
    assert record["dataset"]["name"] == "bars" and record["steps"] >= 2
    assert record["threat_model"]["epsilon"] == "0.1"
    model = create_model("racl", channels=2, layers=3, in_channels=1, num_classes=2)
    assert evaluate(model, images, ["fgsm"], dataset.threat_model).data.n == 16


def test_a_name_that_is_taken_is_refused():
    for name in ("digits", "arrays:own.npz"):
        with pytest.raises(ZooError, match=f"'{name}'.*choose another name"):
            register_dataset(bars(name=name), read_bars)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"image_size": 9}, r"images of \(1, 8, 8\); .* \(1, 9, 9\)"),
        ({"in_channels": 3}, r"\(3, 8, 8\)"),
        ({"num_classes": 1}, "labels from 0 to 1; .* from 0 to 0"),
    ],
)
def test_a_reader_that_gives_something_else_is_refused(claim, said):
    register_dataset(bars(**claim), read_bars)
    with pytest.raises(ZooError, match=said):
        load_split("bars", "train")
