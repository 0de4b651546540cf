import json
import shutil

import pytest
import torch
from helpers.tiny_weights import TINY, save_tiny

import robnet_zoo
from robnet_zoo import create_model, get_weights, list_models
from robnet_zoo.genotypes import genotype_to_dict, published, published_names
from robnet_zoo.models.count import count_parameters
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.architectures import ARCHITECTURES, PARAMETERS
from robnet_zoo.zoo.blueprints import blueprint

EMBEDDED = list_models(pretrained=True)


def parameters(name, **overrides):
    with torch.device("meta"):
        return count_parameters(create_model(name, **overrides))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_registry_tells_the_true_size(name):
    assert parameters(name) == ARCHITECTURES[name].parameters


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [("arnas", 100, 4_566_564), ("robnet_free", 100, 5_491_720), ("racl", 100, 3_623_104)],
)
def test_sizes_with_a_hundred_classes(name, classes, expected):
    assert parameters(name, num_classes=classes) == expected


def test_every_row_s_parameters_are_stored_in_order():
    """Run scripts/architectures.py after a change of the rows."""
    assert list(json.loads(PARAMETERS.read_text())) == list(ARCHITECTURES)


def test_every_genotype_of_the_package_has_a_row_and_a_drawing(root):
    genotypes = {row.genotype for row in ARCHITECTURES.values() if row.genotype}
    assert genotypes == set(published_names())
    assert genotypes == {path.stem for path in (root / "docs" / "cells").glob("*.svg")}


def test_importing_is_fast_and_leaves_torch_alone(run_python):
    code = """
import sys, time
start = time.perf_counter()
import robnet_zoo
taken = time.perf_counter() - start
robnet_zoo.list_models()
robnet_zoo.get_weights("racl")
from robnet_zoo.zoo.blueprints import blueprint
blueprint("racl")
print(taken, "torch" in sys.modules)
"""
    runs = [run_python(code)[0].split() for _ in range(3)]
    assert {torch_imported for _, torch_imported in runs} == {"False"}
    assert min(float(taken) for taken, _ in runs) < 0.3


def test_the_public_face_is_complete():
    for name in ("create_model", "list_models", "get_weights"):
        assert callable(getattr(robnet_zoo, name))
        assert name in dir(robnet_zoo)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = robnet_zoo.nothing


def test_overrides_shape_the_network():
    model = create_model("racl", **TINY, num_classes=7, auxiliary=True, image_size=8)
    logits, auxiliary = model.forward_with_auxiliary(torch.rand(2, 1, 8, 8))
    assert logits.shape == auxiliary.shape == (2, 7)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 7)
    assert model.training


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"chanels": 8}, "chanels.*channels"),
        ({"channels": "8"}, "channels.*'8'"),
        ({"channels": 8.0}, "channels.*8.0"),
        ({"layers": 0}, "layers.*0"),
        ({"layers": 2}, "layers=2"),
        ({"num_classes": True}, "num_classes.*True"),
        ({"channels": 10**9}, "channels.*1000000000"),
        ({"auxiliary": 1}, "auxiliary.*1"),
        ({"stem": "svhn"}, "stem.*svhn"),
    ],
)
def test_bad_overrides_are_told(overrides, words):
    with pytest.raises(ZooError, match=words):
        create_model("racl", **overrides)


def test_human_designed_networks_refuse_what_they_have_not():
    with pytest.raises(ZooError, match="layers"):
        create_model("resnet18", layers=20)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rcl", "rcl.*did you mean racl"),
        ("raccl.digits", "raccl.*did you mean racl"),
        ("org/racl", "hf-hub:org/racl"),
        ("org/racl.v2", "hf-hub:org/racl.v2"),
        ("hub:org/racl", "hub:.*hf-hub:"),
        ("local-dir:/nowhere", "/nowhere.*config.json"),
        ("cells:/nowhere.json", "/nowhere.json"),
        ("racl.no-such-tag", "racl"),
        ("", "model ''"),
    ],
)
def test_unknown_names_are_told(name, words):
    with pytest.raises(ZooError, match=words):
        create_model(name)


def test_listing_filters():
    assert list_models()[0] == "robnet_small"
    assert list_models("p*_darts") == ["pc_darts", "p_darts"]
    assert list_models("nothing*") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("racl", 3_571_174), ("arnas", 4_520_394), ("robnet_large", 6_842_710)],
)
def test_a_genotype_file_is_built_at_the_published_size(tmp_path, name, expected):
    path = tmp_path / "found.v1.json"
    path.write_text(json.dumps(genotype_to_dict(published(name))))
    assert parameters(f"cells:{path}") == expected


def test_a_network_from_a_genotype_file_can_be_saved_and_loaded(tmp_path):
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(genotype_to_dict(published("advrush")) | {"name": "racl"}))
    network, _ = save_tiny(tmp_path / "mine", f"cells:{path}")
    path.unlink()
    loaded = create_model(f"local-dir:{tmp_path / 'mine'}", verify=True)
    assert count_parameters(loaded) == count_parameters(network)


def test_a_genotype_file_has_no_weights(tmp_path):
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(genotype_to_dict(published("racl"))))
    with pytest.raises(ZooError, match="local-dir:"):
        create_model(f"cells:{path}", pretrained=True)


def test_there_must_be_something_to_verify():
    with pytest.raises(ZooError, match="random"):
        create_model("racl", verify=True)


@pytest.fixture
def folder(tmp_path):
    save_tiny(tmp_path / "racl.tiny")
    return tmp_path / "racl.tiny"


def test_weights_may_be_named_by_their_folder(folder):
    loaded = create_model("racl", weights=str(folder), verify=True)
    again = create_model(f"local-dir:{folder}")
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(loaded(images), again(images))
    assert get_weights("racl", str(folder)) == get_weights(f"local-dir:{folder}")


def test_weights_of_another_architecture_are_refused(folder):
    with pytest.raises(ZooError, match="holds racl, not pc_darts"):
        create_model("pc_darts", weights=str(folder))


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("channels", 8, 4),
        ("auxiliary", True, False),
        ("stem", "imagenet", "cifar"),
    ],
)
def test_overrides_that_the_weights_do_not_fit_are_refused(folder, key, value, stored):
    with pytest.raises(ZooError, match=rf"{key}={stored}.*{key}={value}"):
        create_model(f"local-dir:{folder}", **{key: value})
    create_model(f"local-dir:{folder}", **{key: stored})


def test_an_unknown_override_is_told_with_weights_too(folder):
    with pytest.raises(ZooError, match="did you mean channels"):
        create_model(f"local-dir:{folder}", chanels=4)


def test_names_and_weights_must_agree(folder):
    with pytest.raises(ZooError, match="already names its weights"):
        create_model("racl.digits", weights="cifar10")
    with pytest.raises(ZooError, match="leave them out"):
        create_model(f"local-dir:{folder}", weights="digits")


@pytest.mark.slow
def test_a_checkout_s_weights_are_found_and_full_size_ones_come_first(tmp_path, root, run_python):
    """A copy of the checkout with weights of its own, as after a full-size training."""
    shutil.copytree(root / "robnet_zoo", tmp_path / "robnet_zoo")
    shutil.rmtree(tmp_path / "robnet_zoo" / "zoo" / "pretrained", ignore_errors=True)
    save_tiny(tmp_path / "robnet_zoo" / "zoo" / "pretrained" / "racl.digits")
    for tag in ("abc", "cifar10"):
        save_tiny(tmp_path / "weights" / f"racl.{tag}")
    save_tiny(tmp_path / "weights" / "stranger.cifar10")
    code = """
from robnet_zoo import create_model, get_weights, list_models
from robnet_zoo.zoo.registry import default_tag, tags
print(tags("racl"), default_tag("racl"), default_tag("arnas"), list_models(pretrained=True))
create_model("racl", pretrained=True, verify=True), create_model("racl.digits", verify=True)
print(get_weights("racl").name)
"""
    assert run_python(code, cwd=tmp_path)[0].splitlines() == [
        "['digits'] digits None ['racl.digits']",
        "racl.digits",
    ]
    (tmp_path / "pyproject.toml").touch()  # what makes the folder a checkout
    assert run_python(code, cwd=tmp_path)[0].splitlines() == [
        "['cifar10', 'digits', 'abc'] cifar10 None ['racl.cifar10', 'racl.digits', 'racl.abc']",
        "racl.cifar10",
    ]


@pytest.mark.parametrize("name", EMBEDDED)
def test_local_weights_load_and_compute_their_logits(name):
    weights = get_weights(name)
    model = create_model(name, verify=True)
    assert weights.name == name == weights.folder.name
    assert weights.parameters == count_parameters(model)
    assert weights.genotype_status == blueprint(weights.architecture).status
    assert {"recipe", "seed", "epochs"} <= weights.training.keys()
