"""from_pretrained, save_pretrained and push_to_hub, as users of the Hub know them."""

import copy
import inspect
import io
import json
import pickle

import pytest
import torch
import yaml
from helpers.mini_hub import TOKEN, Client, mini_hub
from helpers.tiny_weights import TINY, edit_tensors, save_tiny
from huggingface_hub import PyTorchModelHubMixin

from robnet_zoo import create_model
from robnet_zoo.models import networks
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo import Network
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.mixin import HubModel
from robnet_zoo.zoo.results import RESULTS
from robnet_zoo.zoo.weights import read_weights

TRAINED = {
    "dataset": "digits",
    "image_size": 8,
    "threat_model": {"name": "digits", "norm": "Linf", "epsilon": "0.15"},
}
IMAGES = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def weights(tmp_path):
    return save_tiny(tmp_path / "racl.tiny")[1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_has_the_methods(name):
    with torch.device("meta"):
        assert isinstance(create_model(name), HubModel)


@pytest.mark.parametrize("name", ["racl", "resnet18", "densenet121"])
def test_networks_are_copied_and_pickled_with_their_methods(name):
    model = create_model(name, channels=4).eval()
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    images = torch.rand(2, 3, 32, 32)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(buffer, weights_only=False),
    ):
        assert type(other) is type(model)
        assert other.config == model.config
        assert torch.equal(other(images), model(images))


def test_networks_are_those_of_the_models_room():
    model = create_model("racl", **TINY)
    assert isinstance(model, networks.Network)
    assert isinstance(model, Network)
    assert type(model).__name__ == "Network"
    assert not isinstance(create_model("vgg19", channels=4), networks.Network)


@pytest.mark.parametrize("method", ["from_pretrained", "save_pretrained", "push_to_hub"])
def test_the_mixin_s_users_find_the_arguments_they_know(method):
    """All but the templates and patterns of the mixin, which this has no use for."""
    unused = {"model_card_kwargs", "allow_patterns", "ignore_patterns", "delete_patterns"}
    theirs = inspect.signature(getattr(PyTorchModelHubMixin, method)).parameters
    ours = inspect.signature(getattr(HubModel, method)).parameters
    named = {name for name, p in theirs.items() if p.kind is not p.VAR_KEYWORD} - unused
    assert named <= ours.keys()
    for name in named & ours.keys():
        assert ours[name].kind == theirs[name].kind


def test_a_folder_loads_by_the_class(weights):
    loaded = Network.from_pretrained(weights.folder)
    assert not loaded.training
    again = create_model(f"local-dir:{weights.folder}")
    assert torch.equal(loaded(IMAGES), again(IMAGES))
    assert loaded.config["dataset"] == "digits"


def test_the_class_must_fit(tmp_path):
    _, weights = save_tiny(tmp_path / "resnet18.tiny", "resnet18", layers=None)
    with pytest.raises(ZooError, match=r"holds a Layers, not a Network"):
        Network.from_pretrained(weights.folder)
    assert type(HubModel.from_pretrained(weights.folder)).__name__ == "Layers"


def test_loading_is_strict(weights):
    edit_tensors(weights.folder, lambda tensors: tensors.popitem())
    with pytest.raises(ZooError, match="lacks 1"):
        HubModel.from_pretrained(weights.folder)
    with pytest.raises(ZooError, match="channels=8"):
        HubModel.from_pretrained(weights.folder, channels=8)


def test_what_was_loaded_is_saved_with_all_that_is_known(weights, tmp_path):
    model = Network.from_pretrained(weights.folder)
    assert model.save_pretrained(tmp_path / "copy") is None
    saved = read_weights(tmp_path / "copy")
    assert saved.name == "copy"
    for entry in ("sha256", "arguments", "genotype", "training", "results", "check"):
        assert getattr(saved, entry) == getattr(weights, entry)
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {
        ".eval_results",
        "README.md",
        "cell.svg",
        "config.json",
        "model.safetensors",
    }


def test_parameters_that_changed_lose_the_results_of_the_old_ones(weights, tmp_path):
    model = Network.from_pretrained(weights.folder)
    with torch.no_grad():
        model.classifier.bias += 1
    model.save_pretrained(tmp_path / "tuned", config={"training": {"recipe": "tuned"}})
    tuned = read_weights(tmp_path / "tuned")
    assert tuned.results == {}
    assert tuned.training == {"recipe": "tuned"}
    assert "Not evaluated yet" in (tmp_path / "tuned" / "README.md").read_text()
    reloaded = Network.from_pretrained(tmp_path / "tuned")
    torch.testing.assert_close(reloaded(IMAGES), model(IMAGES), rtol=0.02, atol=0.02)


def test_a_new_network_must_be_told_what_it_was_trained_for(tmp_path):
    model = create_model("racl", **TINY)
    with pytest.raises(ZooError, match="dataset, image_size, threat_model"):
        model.save_pretrained(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    model.save_pretrained(tmp_path / "mine", config=TRAINED)
    reloaded = Network.from_pretrained(tmp_path / "mine")
    torch.testing.assert_close(reloaded(IMAGES), model.eval()(IMAGES), rtol=0.02, atol=0.02)


def test_pushed_weights_come_back_the_same(weights, tmp_path):
    code = """
import sys
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo import Network
model = Network.from_pretrained(sys.argv[1])
url = model.push_to_hub("me/racl.mine", commit_message="first")
back = Network.from_pretrained("me/racl.mine", revision=url.rpartition("/")[2])
tuned = Network.from_pretrained(sys.argv[1])
tuned.classifier.bias.data += 1
tuned.push_to_hub("me/racl.mine", commit_message="second")
states = model.state_dict(), back.state_dict()
assert all(states[0][name].equal(states[1][name]) for name in states[0])
assert back.config["results"] == model.config["results"]
assert back.config["name"] == "racl.mine"
try:
    Network.from_pretrained("me/nothing", local_files_only=True)
except ZooError as error:
    assert "me/nothing" in str(error)
print(url)
"""
    with mini_hub() as hub:
        client = Client(hub, tmp_path)
        url = client.run(str(weights.folder), code, HF_TOKEN=TOKEN)
        commit, tuned = hub.repositories["me/racl.mine"].commits
        assert url == f"{hub.url}/me/racl.mine/commit/{commit}"
        files = hub.repositories["me/racl.mine"].commits[commit]
        assert files["model.safetensors"] == (weights.folder / "model.safetensors").read_bytes()
        assert json.loads(files["config.json"])["sha256"] == weights.sha256
        assert b"hf-hub:me/racl.mine" in files["README.md"]
        assert yaml.safe_load(files[RESULTS])[0]["value"] == 0.953
        assert RESULTS not in hub.repositories["me/racl.mine"].commits[tuned]
