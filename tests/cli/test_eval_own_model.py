"""Models of the user's own on the command line."""

import hashlib
import json
from functools import partial

import numpy as np
import pytest
import torch
from helpers.small_nets import digits, robust_net, trained_state
from torch import nn

import robnet_zoo
from robnet_zoo.data import dataset_info, load_split
from robnet_zoo.eval.target import load_model_spec
from robnet_zoo.threat_models import ThreatModel

CODE = """\
import torch
from torch import nn
from sizes import CLASSES


def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, CLASSES),
    )


net = build()
number = 3


def broken():
    return torch.zeros(2, 3) @ torch.zeros(2, 3)


def choosy(width):
    return net


class Wrong(nn.Module):
    def forward(self, images):
        return images.flatten(1) @ torch.zeros(3, 10)
"""


@pytest.fixture
def run(run_eval, tmp_path):
    """Return a function that runs the command beside net.py: exit code, stdout, stderr."""
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "sizes.py").write_text("CLASSES = 10\n")
    (tmp_path / "syntax.py").write_text("x = 1\ny = = 2\n")
    torch.save(trained_state(), tmp_path / "net.pt")
    return partial(run_eval, "--attack", "pgd2", "--n", "30", "--out", "a.json")


def test_a_file_of_ones_own_is_judged_like_the_module_itself(run, tmp_path):
    options = ("--dataset", "digits", "--weights", "net.pt")
    code, out, _ = run("--model", "net.py:build", *options)
    record = json.loads((tmp_path / "a.json").read_text())
    known = robnet_zoo.evaluate(robust_net(), digits(30), ["pgd2"], "digits")
    assert code == 0
    assert "net.py:build" in out
    assert record["totals"]["verdicts"] == known.totals.verdicts
    assert record["threat_model"]["name"] == "digits"
    assert record["model"]["name"] == "net.py:build"
    assert record["model"]["arguments"] == {
        "spec": "net.py:build",
        "file_sha256": hashlib.sha256(CODE.encode()).hexdigest(),
    }
    weights = (tmp_path / "net.pt").read_bytes()
    assert record["model"]["weights_file_sha256"] == hashlib.sha256(weights).hexdigest()


def test_a_surrogate_out_of_a_file_lends_its_gradients(run, tmp_path):
    defence = """
class Rounded(nn.Module):
    def forward(self, images):
        return (images * 7).round() / 7


net.load_state_dict(torch.load("net.pt"))
defended = nn.Sequential(Rounded(), net)
"""
    (tmp_path / "defended.py").write_text(CODE + defence)
    options = ("--model", "defended.py:defended", "--dataset", "digits")
    run(*options)
    plain = json.loads((tmp_path / "a.json").read_text())
    code, out, _ = run(*options, "--surrogate", "defended.py:net", "--out", "b.json")
    adapted = json.loads((tmp_path / "b.json").read_text())
    assert code == 0 and "gradients of the surrogate defended.py:net" in out
    assert adapted["settings"]["surrogate"]["name"] == "defended.py:net"
    assert adapted["clean"] == plain["clean"]
    assert adapted["totals"]["robust"]["correct"] < plain["totals"]["robust"]["correct"]


def test_mean_and_std_are_put_inside_the_model(run, tmp_path):
    options = ("--weights", "net.pt", "--dataset", "digits")
    run("--model", "net.py:build", *options, "--mean", "0.5", "--std", "2")
    record = json.loads((tmp_path / "a.json").read_text())

    class ByHand(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = robust_net()

        def forward(self, images):
            return self.net((images - 0.5) / 2)

    known = robnet_zoo.evaluate(ByHand(), digits(30), ["pgd2"], "digits")
    assert record["totals"]["verdicts"] == known.totals.verdicts
    assert (record["model"]["arguments"]["mean"], record["model"]["arguments"]["std"]) == (
        [0.5],
        [2.0],
    )


def test_arrays_take_a_norm_and_a_size_in_place_of_a_row(run, tmp_path):
    _, split = load_split("digits", "test")
    pixels = split.images(torch.arange(30)).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "own.npz", x=pixels, y=split.labels[:30].numpy())
    own = ("--model", "net.py:net", "--weights", "net.pt", "--dataset", "arrays:own.npz")
    assert run(*own, "--norm", "L2", "--eps", "1/2")[0] == 0
    record = json.loads((tmp_path / "a.json").read_text())
    threat_model = ThreatModel.of("L2", "1/2")
    known = robnet_zoo.evaluate(robust_net(), digits(30), ["pgd2"], threat_model)
    assert record["threat_model"] == {
        "name": "custom",
        "norm": "L2",
        "epsilon": "1/2",
        "epsilon_value": 0.5,
        "step": "0.125",
        "step_value": 0.125,
    }
    assert record["totals"]["verdicts"] == known.totals.verdicts
    assert "--norm and --eps" in run(*own, "--eps", "1/2")[2]


def test_a_network_of_torchvision_is_built_for_the_data(run, tmp_path):
    from torchvision.models import get_model

    network = get_model("mobilenet_v3_small", num_classes=10)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, "t.pth")
    np.savez("c.npz", x=np.full((2, 32, 32, 3), 7, np.uint8), y=np.array([0, 9]))
    model = ("--model", "torchvision:mobilenet_v3_small", "--weights", "t.pth")
    data = ("--dataset", "arrays:c.npz", "--threat-model", "cifar10", "--n", "2")
    assert run(*model, *data, "--mean", "imagenet")[0] == 0
    info = json.loads((tmp_path / "a.json").read_text())["model"]
    assert info["name"] == "torchvision:mobilenet_v3_small"
    assert info["arguments"]["num_classes"] == 10
    assert info["arguments"]["mean"] == [0.485, 0.456, 0.406]
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(info["arguments"][key]).view(3, 1, 1) for key in ("mean", "std"))
    dataset = dataset_info("cifar10")
    loaded = load_model_spec(model[1], weights="t.pth", dataset=dataset, mean="imagenet").model
    assert torch.equal(loaded(images), network.eval()((images - mean) / std))


def test_a_network_of_timm_takes_the_channels_of_the_data(run, tmp_path):
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", num_classes=10, in_chans=1)
    torch.save(network.state_dict(), "t.pt")
    options = ("--weights", "t.pt", "--dataset", "digits", "--n", "4")
    assert run("--model", "timm:resnet10t", *options)[0] == 0
    info = json.loads((tmp_path / "a.json").read_text())["model"]
    assert info["arguments"] == {"spec": "timm:resnet10t", "num_classes": 10, "in_chans": 1}


def test_images_are_made_on_a_source_out_of_a_file(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ROBNET_ZOO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "loaded.py").write_text(
        CODE + '\n\nnet.load_state_dict(torch.load("net.pt", weights_only=True))\n'
    )
    options = ("--dataset", "digits", "--weights", "net.pt", "--mean", "0.5", "--std", "1")
    attack = "transfer:loaded.py:net:pgd2"
    assert run("--model", "net.py:build", *options, "--attack", f"pgd2,{attack}")[0] == 0
    white, black = json.loads((tmp_path / "a.json").read_text())["attacks"]
    assert black["verdicts"] == white["last_verdicts"]  # the same network, made on itself
    assert (black["name"], black["settings"]["source"]) == (attack, "loaded.py:net")
    source = black["settings"]["source_arguments"]
    assert (source["spec"], source["mean"], source["std"]) == ("loaded.py:net", [0.5], [1.0])


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("transfer:no.py:build:pgd2", "There is no file 'no.py'"),
        ("transfer:net.py:pgd2", "Unknown name in net.py: 'pgd2'"),
        ("transfer:net.py", "write net.py:NAME"),
        ("transfer:net.py:broken:pgd2", "(2x3 and 2x3) ({folder}/net.py, line 19)"),
        ("transfer:net.py:Wrong:pgd2", "Source 'net.py:Wrong': The model cannot take images"),
        ("transfer:net.py:build:pdg2", "Unknown attack 'pdg2'; did you mean pgd2"),
        ("transfer:no.py:build:square", "Attack 'square' cannot be transferred"),
        ("transfer:torchvision:resnet81:pgd2", "did you mean resnet18"),
    ],
)
def test_sources_that_are_none_are_said_in_one_sentence(run, tmp_path, attack, message):
    options = ("--weights", "net.pt", "--dataset", "digits")
    code, out, err = run("--model", "net.py:net", *options, "--attack", attack)
    assert (code, out) == (2, "")
    assert message.format(folder=tmp_path) in err
    assert err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("net.py:build",), "name a data set or a file of images"),
        (("net.py",), "write net.py:NAME"),
        (("net.py:",), "write net.py:NAME"),
        (("no.py:build", "--dataset", "digits"), "There is no file 'no.py'"),
        (("net.py:biuld", "--dataset", "digits"), "did you mean build"),
        (("net.py:choosy", "--dataset", "digits"), "missing a required argument: 'width'"),
        (("net.py:number", "--dataset", "digits"), "gives a int; it must be an nn.Module"),
        (("net.py:broken", "--dataset", "digits"), "(2x3 and 2x3) ({folder}/net.py, line 19)"),
        (("syntax.py:x", "--dataset", "digits"), "SyntaxError: invalid syntax (syntax.py, line 2)"),
        (("net.py:Wrong", "--dataset", "digits"), "({folder}/net.py, line 28)"),
        (("net.py:net", "--weights", "cifar10", "--dataset", "digits"), "no file of a state dict"),
        (("net.py:net", "--weights", "no.pt", "--dataset", "digits"), "Cannot read 'no.pt'"),
        (("net.py:Wrong", "--weights", "net.pt", "--dataset", "digits"), "it has besides 0.weight"),
        (("net.py:net", "--mean", "0.5", "--dataset", "digits"), "--mean needs --std"),
        (("net.py:net", "--mean", "cfiar10", "--std", "1", "--dataset", "digits"), "mean cifar10"),
        (("net.py:net", "--mean", "imagenet", "--dataset", "digits"), "3 numbers and the images"),
        (("net.py:net", "--mean", "0", "--std", "0", "--dataset", "digits"), "do not normalise"),
        (("racl.digits", "--mean", "imagenet"), "leave out --mean and --std"),
        (("torchvision:resnet81", "--dataset", "digits"), "did you mean resnet18"),
        (("torchvision:resnet18", "--weights", "V3", "--dataset", "digits"), "IMAGENET1K_V1"),
        (("torchvision:resnet18", "--weights", "net.pt", "--dataset", "digits"), "3 channels"),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_sentence(run, tmp_path, options, message):
    code, out, err = run("--model", *options)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message.format(folder=tmp_path) in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a.json").exists()
