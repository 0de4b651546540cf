"""The two commands of a GPU slot, on a CPU: what they choose, bring back, and go on from."""

import json

import pytest
import torch
from helpers.training import write_arrays

from robnet_zoo import create_model
from robnet_zoo.runtime.checkpoint import load_checkpoint
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.train.export import export
from robnet_zoo.train.pack import unpack
from scripts import smoke, train

pytestmark = pytest.mark.slow

SMALL = ("--channels", "4", "--device", "cpu")


@pytest.fixture(scope="module")
def slot(tmp_path_factory):
    """A smoke of two variants, the second of which cannot be, and a training by its choice."""
    folder = tmp_path_factory.mktemp("slot")
    data = write_arrays(folder).removeprefix("arrays:")
    asked = [data, "--out", str(folder / "choice.json"), *SMALL, "--batch-size", "8"]
    assert (
        smoke.main([*asked, "--only", "merged", "grouped", "--seconds", "60", "--each", "55"]) == 0
    )
    asked = ["racl", data, "--choice", str(folder / "choice.json"), "--work", str(folder / "run")]
    asked += ["--out", str(folder / "out"), *SMALL, "--seconds", "18", "--recipe", "slot"]
    assert train.main([*asked, "--set", "batch_size=30"]) == 0
    return folder


def test_the_smoke_writes_down_the_fastest_way_and_what_each_variant_found(slot):
    choice = json.loads((slot / "choice.json").read_text())
    tried = choice["tried"]["merged"]
    assert choice["recipe"] == "slot-fast"  # a CPU does not take 1,500 images a second
    assert choice["images_per_second"] == max(
        rate
        for found in choice["tried"].values()
        for rate in (found.get("graph", 0), found.get("eager", 0))
    )
    assert tried["recorder"] == "a replay came to the same as an eager step"
    assert tried["graph"] > 0 and tried["eager"] > 0 and 1 < tried["loss"] < 5


def test_a_training_brings_back_at_most_eight_small_files(slot):
    files = [path for path in (slot / "out").rglob("*") if path.is_file()]
    assert len(files) <= 8
    assert {"history.csv", "record.json", "curves.png", "pack.json"} <= {
        path.name for path in files
    }
    record = json.loads((slot / "out" / "record.json").read_text())
    assert record["settings"]["time_budget"] < 18
    assert record["settings"]["separable"] in ("merged", "apart")
    assert record["settings"]["recipe"]["name"] == "slot"


def test_what_came_back_becomes_the_weights_of_the_run(slot, tmp_path):
    unpack(slot / "out" / "pack", tmp_path / "run")
    record = (slot / "out" / "record.json").read_text()
    (tmp_path / "run" / "record.json").write_text(record)
    weights = export(tmp_path / "run", tmp_path / "racl.tiny")
    assert weights.training["settings"]["dataset"] == "arrays:digits.npz"  # not where it lay
    best = load_checkpoint(slot / "run" / "best.pt")["average"]
    model = create_model(f"local-dir:{tmp_path / 'racl.tiny'}", verify=True)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, best[name], rtol=1e-3, atol=1e-4), name


def test_a_run_of_another_network_is_not_gone_on_with(slot):
    data = str(slot / "digits.npz")
    asked = ["arnas", data, "--work", str(slot / "run"), "--out", str(slot / "other"), *SMALL]
    with pytest.raises(ZooError, match="is of racl, not of arnas"):
        train.main([*asked, "--seconds", "20"])


def test_too_little_time_is_told_before_anything_is_done(slot):
    data = str(slot / "digits.npz")
    asked = ["racl", data, "--work", str(slot / "none"), "--out", str(slot / "other"), *SMALL]
    with pytest.raises(ZooError, match="--seconds 5 leaves no time to train"):
        train.main([*asked, "--seconds", "5"])
    assert not (slot / "none").exists()


def test_a_smoke_of_which_nothing_comes_says_so(tmp_path):
    data = write_arrays(tmp_path).removeprefix("arrays:")
    asked = [data, "--out", str(tmp_path / "choice.json"), "--channels", "3", "--device", "cpu"]
    with pytest.raises(ZooError, match="No variant took a step"):
        smoke.main([*asked, "--only", "merged"])
    assert not (tmp_path / "choice.json").exists()
