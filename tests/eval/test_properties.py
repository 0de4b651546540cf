"""`eval properties`: what other verifiers are asked is what certificates answer."""

import csv
import re
import sys

import pytest
import torch
from helpers.fitted import save_fitted
from helpers.small_nets import digits

from robnet_zoo.certify.ball import Ball
from robnet_zoo.certify.vnnlib import property_text
from robnet_zoo.eval.__main__ import main


def read_property(text):
    """Return bounds of inputs and the pairs of logits, from a property of ours."""
    inputs = len(re.findall(r"\(declare-const X_\d+ Real\)", text))
    low, high = [None] * inputs, [None] * inputs
    for sign, at, value in re.findall(r"\(assert \(([<>])= X_(\d+) ([\d.]+)\)\)", text):
        (low if sign == ">" else high)[int(at)] = float(value)
    pairs = [(int(a), int(b)) for a, b in re.findall(r"\(and \(>= Y_(\d+) Y_(\d+)\)\)", text)]
    assert text.count("(") == text.count(")")
    return *(torch.tensor(part, dtype=torch.float64) for part in (low, high)), pairs


def test_a_property_says_the_ball_and_every_other_class():
    images, labels = digits(3)
    ball = Ball(images.double(), torch.full((3,), 0.013).double(), "Linf")
    low, high = ball.box
    for number in range(3):
        text = property_text((low[number], high[number]), int(labels[number]), 10, "a digit")
        least, most, pairs = read_property(text)
        assert torch.equal(least, low[number].flatten())
        assert torch.equal(most, high[number].flatten())
        assert pairs == [(k, int(labels[number])) for k in range(10) if k != labels[number]]
        assert "e-" not in text.partition("\n")[2].replace("declare-const", "")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "racl.digits"
    save_fitted(folder, size={"channels": 2, "layers": 3, "in_channels": 1})
    return folder


def test_the_written_network_gives_the_models_logits_and_misclassified_images_are_left_out(
    weights, tmp_path, capsys
):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    out = tmp_path / "files"
    model = f"local-dir:{weights}"
    asked = ["properties", "--model", model, "--n", "20", "--eps", "0.01", "--out", str(out)]
    assert main(asked) == 0
    images, labels = digits(20)
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    logits = torch.cat(
        [torch.tensor(session.run(["Y"], {"X": image[None].numpy()})[0]) for image in images]
    )
    right = (logits.argmax(1) == labels).nonzero().flatten().tolist()
    rows = list(csv.reader((out / "instances.csv").open()))
    assert rows == [["model.onnx", f"image-{number}.vnnlib", "300"] for number in right]
    assert f"{len(right)} properties" in capsys.readouterr().out
    for number in right[:3]:
        low, high, pairs = read_property((out / f"image-{number}.vnnlib").read_text())
        torch.testing.assert_close(
            (low + high) / 2, images[number].flatten().double(), atol=0.006, rtol=0
        )
        assert {label for _, label in pairs} == {int(labels[number])}


def test_a_missing_package_and_another_norm_are_named(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    asked = ["properties", "--model", f"local-dir:{weights}", "--out", str(tmp_path / "files")]
    assert main([*asked, "--n", "2"]) == 2
    assert 'pip install "robnet-zoo[onnx]"' in capsys.readouterr().err
    assert main([*asked, "--norm", "L2", "--eps", "0.1"]) == 2
    assert "Linf and not L2" in capsys.readouterr().err
