"""An architecture added from outside the package: one call, and everything takes it by its name."""

import json
from dataclasses import replace

import pytest
import torch
from helpers.training import write_arrays
from torch import nn
from torch.nn import functional as F

from robnet_zoo import create_model, list_models
from robnet_zoo.data import load_split
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.genotypes import genotype_to_dict, published, read_genotype
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.models.networks import Network
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.train.export import export
from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.session import train
from robnet_zoo.train.settings import Settings
from robnet_zoo.zoo import Architecture, HubModel, Paper, register_architecture
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.info import describe

PAPER = Paper("A cell of our own", ("Ada We",), 2026, "0000.00000")
SIZE = {"channels": 4, "layers": 3}
TRAINED = {
    "dataset": "digits",
    "image_size": 8,
    "threat_model": {"name": "digits", "norm": "Linf", "epsilon": "0.15"},
}


@pytest.fixture(autouse=True)
def _forget():
    before = dict(ARCHITECTURES)
    yield
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)


@pytest.fixture
def mine(tmp_path):
    genotype = genotype_to_dict(published("racl")) | {"name": "mine", "status": "searched here"}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(genotype))
    arguments = {**SIZE, "num_classes": 10}
    row = Architecture("mine", PAPER, read_genotype(path), arguments=arguments)
    register_architecture(row)
    return row


def linear(*, num_classes=10, in_channels=3, side=8):
    """What a builder from outside may be."""
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * side * side, num_classes))


def test_it_is_built_listed_and_described(mine):
    assert list_models("mi*") == ["mine"]
    model = create_model("mine", channels=6)
    assert isinstance(model, Network) and isinstance(model, HubModel)
    assert ARCHITECTURES["mine"].parameters > 0
    for word in ("We: A cell of our own", "searched here", "layers=3"):
        assert word in describe("mine")


def test_it_learns_and_is_folded_saved_and_loaded(mine, tmp_path):
    model = create_model("mine", in_channels=1)
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8)
    before = model.classifier.weight.clone()
    F.cross_entropy(model(images), labels).backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert not torch.equal(before, model.classifier.weight)
    folded = fold(model.eval())
    assert folded is not model
    torch.testing.assert_close(folded(images), model(images), rtol=1e-3, atol=1e-3)
    model.save_pretrained(tmp_path / "mine.first", config=TRAINED)
    loaded = create_model(f"local-dir:{tmp_path / 'mine.first'}", verify=True)
    torch.testing.assert_close(loaded(images), model(images), rtol=0.02, atol=0.02)
    again = create_model("mine", weights=str(tmp_path / "mine.first"))
    assert torch.equal(again(images), loaded(images))


def test_it_is_trained_and_evaluated_by_name(mine, tmp_path):
    recipe = replace(get_recipe("fast"), epochs=1)
    settings = Settings(
        model="mine",
        dataset=write_arrays(tmp_path),
        recipe=recipe,
        threat_model="digits",
        batch_size=90,
        **SIZE,
    )
    train(settings, tmp_path / "run", save_every=300.0)
    weights = export(tmp_path / "run", tmp_path / "mine.digits", "digits")
    model = create_model(f"local-dir:{weights.folder}", verify=True)
    assert model.config["architecture"] == "mine"
    _, images = load_split("digits", "test")
    record = evaluate(model, images.subset(torch.arange(8)), ["fgsm"], "digits")
    assert record.attacks[0].name == "fgsm"


def test_a_builder_will_do_as_well(tmp_path):
    register_architecture(Architecture("linear", PAPER, builder=linear))
    model = create_model("linear", in_channels=1, num_classes=5)
    assert ARCHITECTURES["linear"].status == "human-designed"
    assert ARCHITECTURES["linear"].parameters == 1930
    model.save_pretrained(tmp_path / "linear.mine", config=TRAINED)
    loaded = create_model(f"local-dir:{tmp_path / 'linear.mine'}", verify=True)
    assert loaded.config["arguments"] == {"in_channels": 1, "num_classes": 5}
    with pytest.raises(ZooError, match="channels"):
        create_model("linear", channels=8)
    del ARCHITECTURES["linear"]
    with pytest.raises(ZooError, match="Unknown architecture 'linear'"):
        create_model(f"local-dir:{tmp_path / 'linear.mine'}")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Architecture("racl", PAPER, published("racl")), "already"),
        (Architecture("my.net", PAPER, builder=linear), "cannot name"),
        (Architecture("mine", PAPER), "genotype or a builder"),
        (Architecture("mine", PAPER, published("racl"), linear), "genotype or a builder"),
        (Architecture("mine", PAPER, "rcl"), "did you mean"),
        (Architecture("mine", PAPER, builder=linear, arguments={"width": 3}), "width"),
        (Architecture("mine", PAPER, "racl", arguments={"channels": 3, "layers": 3}), "channels=3"),
    ],
)
def test_a_row_that_cannot_work_is_refused_at_once(row, words):
    before = list_models()
    with pytest.raises(ZooError, match=words):
        register_architecture(row)
    assert list_models() == before
