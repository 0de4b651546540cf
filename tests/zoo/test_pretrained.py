"""Which weights `pretrained=True` takes, and what is said where they are not the paper's."""

import warnings

import pytest
import torch
from helpers.tiny_weights import TINY, edit_config, save_tiny

from robnet_zoo import create_model, get_weights
from robnet_zoo.cli.main import main
from robnet_zoo.genotypes import published
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo import Architecture, Paper, PretrainedWarning, register_architecture, weights
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.registry import default_tag

ROW = Architecture(
    "mine",
    Paper("A cell of our own", ("Ada We",), 2026, "0000.00000"),
    published("racl"),
    arguments=TINY | {"num_classes": 10},
)


@pytest.fixture(autouse=True)
def _without_drawings(monkeypatch):
    """Leave out cell.svg, which takes longer than all else here."""
    monkeypatch.setattr("robnet_zoo.plotting.cells.draw", lambda *arguments: None)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A package without weights, with an architecture that is published at 4 x 3 on CIFAR-10."""
    monkeypatch.setattr(weights, "EMBEDDED", tmp_path / "package")
    monkeypatch.setattr(weights, "CHECKOUT", tmp_path / "checkout")
    register_architecture(ROW)
    yield tmp_path / "package"
    del ARCHITECTURES["mine"]


def save(place, tag, dataset="cifar10", recipe="fast", **sizes):
    save_tiny(place / f"mine.{tag}", "mine", **sizes)
    edit_config(place / f"mine.{tag}", dataset=dataset, training={"recipe": recipe})


def load(name, **options):
    """Load a model and return the name of its weights and what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = create_model(name, **options)
    assert {warning.category for warning in caught} <= {PretrainedWarning}
    return model.config["name"], [str(warning.message) for warning in caught]


def test_the_published_size_comes_first_then_the_data(place):
    save(place, "digits", "digits", channels=2)
    assert default_tag("mine") == "digits"
    for tag in ("cifar10-mini", "cifar10-small", "cifar10"):
        save(place, tag, channels=2)
        assert default_tag("mine") == tag
    save(place, "natural", recipe="natural")
    assert default_tag("mine") == "cifar10"  # nobody asks for a network that is not robust
    save(place, "other", "svhn")
    assert default_tag("mine") == "other"
    assert get_weights("mine").name == "mine.other"
    assert get_weights("mine.digits").name == "mine.digits"


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (
            {"tag": "digits", "dataset": "digits", "channels": 2},
            "mine.digits (digits, 8x8 images, 2 channels x 3 cells,",
        ),
        ({"tag": "digits", "dataset": "digits"}, "mine.digits (digits, 8x8 images, 4 channels"),
        ({"tag": "cifar10", "channels": 2}, "mine.cifar10 (cifar10, 8x8 images, 2 channels"),
        ({"tag": "cifar10-natural", "recipe": "natural"}, "trained naturally)"),
    ],
)
def test_what_is_not_published_is_named_in_one_sentence(place, saved, words):
    save(place, **saved)
    name, said = load("mine", pretrained=True)
    assert name == f"mine.{saved['tag']}"
    (sentence,) = said
    assert words in sentence
    assert f"(cifar10, 4 channels x 3 cells, {ARCHITECTURES['mine'].parameters:,} " in sentence
    assert sentence.endswith(f"name '{name}' if that is what you want.")


def test_weights_that_were_named_are_not_commented_on(place):
    save(place, "digits", "digits", channels=2)
    for name, options in (
        ("mine.digits", {}),
        ("mine.digits", {"pretrained": True}),
        ("mine", {"weights": "digits"}),
        ("mine", {"weights": str(place / "mine.digits")}),
        (f"local-dir:{place / 'mine.digits'}", {}),
    ):
        assert load(name, **options) == ("mine.digits", [])


def test_the_published_network_is_not_commented_on(place):
    save(place, "cifar10")
    assert load("mine", pretrained=True) == ("mine.cifar10", [])


def test_the_warning_points_to_the_caller_s_line(place):
    save(place, "digits", "digits")
    with pytest.warns(PretrainedWarning) as caught:
        create_model("mine", pretrained=True)
    assert caught[0].filename == __file__


def test_an_evaluation_says_it_in_one_line(place, tmp_path, capsys):
    save(place, "digits", "digits")
    for name, lines in (("mine", 1), ("mine.digits", 0)):
        out = str(tmp_path / f"{name}.json")
        assert main(["eval", "--model", name, "--attack", "fgsm", "--n", "4", "--out", out]) == 0
        said = capsys.readouterr().err.splitlines()
        assert [line.startswith("warning: 'mine' loads mine.digits (") for line in said] == (
            [True] * lines
        )


def test_damaged_weights_are_no_reason_to_take_others(place):
    save(place, "cifar10")
    save(place, "digits", "digits")
    (place / "mine.cifar10" / "config.json").write_text("{")
    with pytest.raises(ZooError, match="is not JSON"):
        create_model("mine", pretrained=True)
    assert load("mine.digits") == ("mine.digits", [])


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16])
def test_a_type_is_kept_and_rounded_only_on_request(place, tmp_path, dtype):
    model = create_model("mine").eval()
    training = {"image_size": 8, "dataset": "digits", "threat_model": {"norm": "Linf"}}
    model.save_pretrained(tmp_path / "saved", config=training, dtype=dtype)
    loaded = create_model(f"local-dir:{tmp_path / 'saved'}", verify=True)
    exact = dtype != torch.float16
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(loaded(images), model(images)) == exact
    assert ("in half precision" in (tmp_path / "saved" / "README.md").read_text()) != exact
    with pytest.raises(ZooError, match="bfloat16"):
        model.save_pretrained(tmp_path / "other", config=training, dtype=torch.bfloat16)
    assert not (tmp_path / "other").exists()
