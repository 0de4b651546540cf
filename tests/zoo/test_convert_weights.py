import pytest
import torch
from msgspec import UNSET

from robnet_zoo import create_model
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import sha256_of
from robnet_zoo.zoo.convert import convert


@pytest.fixture(scope="module")
def network():
    return create_model("robnet_free").eval()


@pytest.fixture(scope="module")
def state(network):
    return network.state_dict()


def converted(tmp_path, content, model="robnet_free", **options):
    torch.save(content, tmp_path / "official.pth.tar")
    return convert(tmp_path / "official.pth.tar", model, tmp_path / "out", **options)


def refused(tmp_path, content, words, **options):
    with pytest.raises(ZooError, match=words):
        converted(tmp_path, content, **options)
    assert not (tmp_path / "out").exists()


# Entry counts and names of the authors' state dicts.
@pytest.mark.parametrize(
    ("name", "entries", "some"),
    [
        ("robnet_large", 2830, "cells.0._ops.9.op.conv.op.7.running_var"),
        ("robnet_large_v2", 4624, "cells.11._ops.0.op.res.conv_1.weight"),
        ("robnet_free", 2015, "cells.7.preprocess0.conv_2.weight"),
        ("robnet_large_imagenet", 2843, "stem0.4.weight"),
    ],
)
def test_the_networks_have_the_names_of_the_authors_checkpoints(name, entries, some):
    with torch.device("meta"):
        names = create_model(name).state_dict().keys()
    assert len(names) == entries
    assert some in names


@pytest.mark.parametrize(("prefix", "wrapped"), [("", False), ("module.", True)])
def test_every_layout_is_read(tmp_path, network, state, prefix, wrapped):
    content = {prefix + name: tensor for name, tensor in state.items()}
    if wrapped:
        content = {"epoch": 3, "best_acc": 0.5, "state_dict": content}
    weights = converted(tmp_path, content)
    loaded = create_model(f"local-dir:{tmp_path / 'out'}", verify=True)
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(loaded(images), network(images))  # no bit of theirs is lost
    assert weights.training["source_sha256"] == sha256_of(tmp_path / "official.pth.tar")
    assert weights.genotype_status == "published"
    assert weights.class_names[:2] == ("airplane", "automobile")
    assert weights.parameters == 5_439_790


def test_the_number_of_classes_is_the_classifier_s(tmp_path, state):
    head = {"classifier.weight": torch.rand(100, 576), "classifier.bias": torch.rand(100)}
    weights = converted(tmp_path, {"state_dict": state | head}, dataset="svhn")
    assert weights.arguments["num_classes"] == 100
    assert (weights.dataset, weights.threat_model["epsilon"]) == ("svhn", "8/255")
    assert weights.class_names is UNSET  # svhn has ten classes
    assert create_model(f"local-dir:{tmp_path / 'out'}")(torch.rand(1, 3, 8, 8)).shape == (1, 100)


def test_missing_and_surplus_names_are_told(tmp_path, state):
    missing = dict(state)
    missing["cells.0.wrong"] = missing.pop("stem.0.weight")
    refused(tmp_path, missing, r"stem\.0\.weight.*cells\.0\.wrong")


def test_wrong_shapes_are_told(tmp_path, state):
    wrong = state | {"stem.0.weight": torch.zeros(64, 3, 3, 3)}
    refused(tmp_path, wrong, r"stem\.0\.weight.*\[64, 3, 3, 3\].*\[108, 3, 3, 3\]")


class Scheduler:
    """Stands for the object that training checkpoints hold."""


def test_pickled_objects_are_not_read(tmp_path, state):
    refused(tmp_path, {"state_dict": state, "scheduler": Scheduler()}, "never unpickled")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 1}, {"state_dict": 3}, {}])
def test_other_files_are_refused(tmp_path, content):
    refused(tmp_path, content, "state dict|classifier")


def test_damaged_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "damaged.pth.tar"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ZooError, match="damaged"):
        convert(path, "robnet_free", tmp_path / "out")
    with pytest.raises(ZooError, match="nowhere"):
        convert(tmp_path / "nowhere", "robnet_free", tmp_path / "out")


@pytest.mark.parametrize("model", ["racl", "robnet_fre"])
def test_only_robnets_are_converted(tmp_path, state, model):
    refused(tmp_path, dict(state), "RobNet", model=model)


def test_an_unknown_data_set_is_refused(tmp_path, state):
    refused(tmp_path, dict(state), "cifar10", dataset="cifar11")


def test_an_unwritable_folder_is_told(tmp_path, state):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ZooError, match="Cannot write"):
        converted(tmp_path, dict(state))
