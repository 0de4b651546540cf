"""A network as a file for other programs: what it gives there, and what is refused."""

import json
import sys

import pytest
import torch
from helpers.fitted import save_fitted
from helpers.tiny_weights import edit_config
from torch import nn

from robnet_zoo import create_model, export_onnx, export_torch
from robnet_zoo.cli.main import main
from robnet_zoo.models.cells import CellBlock
from robnet_zoo.models.export import Expected, write_onnx
from robnet_zoo.models.operations import SeparableConv
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo import Architecture, Paper, PretrainedWarning, register_architecture
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.weights import read_weights

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
SMALL = {"channels": 2, "layers": 3}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network that knows digits, with stored logits."""
    folder = tmp_path_factory.mktemp("weights") / "e2rnas.small"
    return save_fitted(folder, "e2rnas", size={**SMALL, "in_channels": 1}).folder


@pytest.fixture
def own():
    """The name of an architecture without weights, for digits."""

    def linear(*, num_classes=10, in_channels=1):
        return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes))

    sizes = {"in_channels": 1, "num_classes": 10}
    paper = Paper("An example", ("Ada We",), 2026, "0000.00000")
    register_architecture(
        Architecture("own", paper, builder=linear, arguments=sizes, dataset="digits")
    )
    yield "own"
    del ARCHITECTURES["own"]


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(str(path))
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def logits_of(model, images):
    with torch.no_grad():
        return model(images)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("robnet_small", SMALL),
        ("lrnas", SMALL),  # which has a node without a connection
        ("resnet18", {"channels": 2, "denoise": True}),
    ],
)
def test_an_onnx_file_gives_the_networks_logits_for_batches_of_any_size(name, sizes, tmp_path):
    model = create_model(name, num_classes=5, **sizes)
    logits_of(model, torch.rand(8, 3, 8, 8))  # for the batch statistics
    made = export_onnx(model, tmp_path / "net.onnx", image_size=8)
    assert model.training
    assert (made.input_shape, made.classes, made.stored) == ((3, 8, 8), 5, False)
    for size in (1, 6):
        images = torch.rand(size, 3, 8, 8)
        expected = logits_of(model.eval(), images)
        given = run_onnx(made.path, images)
        torch.testing.assert_close(given, expected, rtol=0, atol=made.agreement.allowed)


def test_both_files_of_weights_say_what_they_are_and_give_the_stored_logits(
    weights, tmp_path, capsys
):
    files = {"onnx": tmp_path / "a" / "net.onnx", "torch": tmp_path / "net.pt2"}
    asked = ["export", str(weights), *(f"--{kind}={path}" for kind, path in files.items())]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert shown.count("of the stored ones and PyTorch's") == 2
    assert "images (N, 1, 8, 8) with pixels in [0,1] -> logits (N, 10)" in shown

    properties = onnx.load(files["onnx"]).metadata_props
    extra = {"metadata.json": ""}
    program = torch.export.load(files["torch"], extra_files=extra).module()
    facts = json.loads(extra["metadata.json"])
    texts = {
        key: text if isinstance(text, str) else json.dumps(text) for key, text in facts.items()
    }
    assert {entry.key: entry.value for entry in properties} == texts
    known = read_weights(weights)
    assert (facts["name"], facts["sha256"]) == ("e2rnas.small", known.sha256)
    assert facts["class_names"] == [str(digit) for digit in range(10)]
    assert facts["input_size"] == [1, 8, 8]

    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    stored = torch.tensor(known.check["logits"])
    for given in (run_onnx(files["onnx"], images), program(images)):
        torch.testing.assert_close(given, stored, rtol=0, atol=1e-3)
    assert program(images[:1]).shape == (1, 10)
    assert b"robnet_zoo/models" not in files["torch"].read_bytes()  # places on this machine


def test_a_file_that_is_there_is_kept_unless_told_otherwise(weights, tmp_path, capsys):
    path = tmp_path / "net.onnx"
    path.write_text("mine")
    asked = ["export", str(weights), "--onnx", str(path)]
    assert main(asked) == 2
    assert "exists already; name another file, or give --overwrite" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main([*asked, "--overwrite"]) == 0
    onnx.checker.check_model(str(path))


def test_what_training_did_for_speed_does_not_reach_the_file(weights, tmp_path):
    model = create_model(f"local-dir:{weights}")
    plain = export_onnx(model, tmp_path / "plain.onnx").path.read_bytes()
    for module in model.train().modules():
        if isinstance(module, SeparableConv):
            module.mode = "merged"
        elif isinstance(module, CellBlock):
            module.grouped = True
    made = export_onnx(model.to(memory_format=torch.channels_last), tmp_path / "fast.onnx")
    assert made.path.read_bytes() == plain
    assert made.stored


def test_only_unchanged_parameters_are_called_the_weights(weights, tmp_path):
    def facts(made):
        return {entry.key: entry.value for entry in onnx.load(made.path).metadata_props}

    with pytest.warns(PretrainedWarning, match="images of 12x12 instead of 8x8"):
        made = export_onnx(read_weights(weights), tmp_path / "12.onnx", image_size=12)
    assert (made.input_shape, made.stored) == ((1, 12, 12), False)
    assert facts(made)["name"] == "e2rnas.small"
    model = create_model(f"local-dir:{weights}")
    model.get_classifier().bias.data[0] += 1e-4
    made = export_onnx(model, tmp_path / "trained.onnx")
    assert not made.stored
    assert json.loads(facts(made)["started_from"])["name"] == "e2rnas.small"
    assert not {"name", "sha256"} & facts(made).keys()
    model.reset_classifier(4)
    assert "class_names" not in facts(export_onnx(model, tmp_path / "4.onnx"))


def test_weights_that_do_not_give_their_logits_are_refused(weights, tmp_path):
    known = read_weights(weights)
    try:
        wrong = [[logit + 1 for logit in row] for row in known.check["logits"]]
        edit_config(weights, check={"logits": wrong})
        with pytest.raises(ZooError, match="does not compute its stored logits"):
            export_onnx(f"local-dir:{weights}", tmp_path / "net.onnx")
    finally:
        edit_config(weights, check=known.check)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_no_file_is_left_that_gives_other_logits(wrong, tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    images = torch.rand(2, 1, 2, 2)
    logits = logits_of(model, images)
    others = logits.clone()
    others[1, 2] += wrong
    expected = [Expected(images, logits), Expected(images, others)]
    with pytest.raises(ZooError, match=r"logits that differ by .* it is not kept"):
        write_onnx(model, expected, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_an_architecture_without_weights_is_exported_only_when_asked_for(own, tmp_path, capsys):
    asked = ["export", own, "--torch", str(tmp_path / "net.pt2")]
    assert main(asked) == 2
    assert "There are no weights of own; " in (error := capsys.readouterr().err)
    assert "robnet-zoo export own --untrained" in error
    assert main([*asked, "--untrained"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("own with random weights of seed 0\n")
    assert "images (N, 1, 8, 8)" in shown  # the side that its data set has
    with pytest.raises(ZooError, match="does not know the size of its images"):
        export_torch(create_model(own), tmp_path / "other.pt2")
    with pytest.raises(ZooError, match=r"cannot take images of shape .*give another image_size"):
        export_torch(create_model(own), tmp_path / "other.pt2", image_size=9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "There is no file to write; add --onnx FILE.onnx or --torch FILE.pt2."),
        (["--onnx", "net.pt2"], "its name must end in .onnx"),
        (["--onnx", "net.onnx", "--torch", "net.onnx"], "its name must end in .pt2"),
        (["--onnx", "net.onnx", "--untrained"], "names weights; leave out --untrained"),
        (["--onnx", "net.onnx", "--image-size", "0"], "image_size must be a whole number"),
        (["--onnx", "net.onnx", "--image-size", "9"], "sides are multiples of 4"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    weights, options, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["export", f"local-dir:{weights}", *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(package, weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ZooError, match=rf'needs {package}, .*pip install "robnet-zoo\[onnx\]"'):
        export_onnx(f"local-dir:{weights}", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
