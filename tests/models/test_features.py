"""Networks as backbones: their maps, their classifiers, and their graphs in torch.fx."""

import pytest
import torch
from torch import fx
from torchvision.models.feature_extraction import create_feature_extractor

from robnet_zoo import create_model
from robnet_zoo.models.features import FeatureMaps
from robnet_zoo.runtime.errors import ZooError

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SMALL = {"channels": 4, "layers": 3}
# one of each kind of cell, stem and builder: name, arguments, sides of images over those of maps
NETWORKS = [
    ("racl", SMALL, [1, 2, 4]),
    ("racl", SMALL | {"layers": 6, "denoise": True}, [1, 2, 4]),
    ("arnas", SMALL, [1, 2, 4]),
    ("amoebanet_a", SMALL, [1, 2, 4]),
    ("robnet_large", SMALL, [1, 2, 4]),
    ("robnet_large_imagenet", SMALL, [8, 16, 32]),
    ("resnet18", {"channels": 4}, [1, 2, 4, 8]),
    ("wrn_28_10", {"channels": 2}, [1, 2, 4]),
    ("densenet121", {"channels": 4}, [1, 2, 4, 8]),
    ("vgg19", {"channels": 2}, [1, 2, 4, 8, 16, 32]),
]


@pytest.fixture(
    params=NETWORKS, ids=[f"{name}-{index}" for index, (name, *_) in enumerate(NETWORKS)]
)
def network(request):
    name, arguments, reductions = request.param
    return create_model(name, **arguments).eval(), reductions


def test_maps_are_those_that_the_network_computes_with(network):
    model, reductions = network
    logits, info = model(IMAGES), model.feature_info
    seen = {}
    for name in info.module_name():
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: output.clone()})
        )
    last = model.forward_features(IMAGES)
    assert torch.equal(model.forward_head(last), logits)
    assert model.forward_head(last, pre_logits=True).shape == (2, model.num_features)
    maps = FeatureMaps(model)(IMAGES)
    assert info.reduction() == reductions == [32 // x.shape[2] for x in maps]
    assert info.channels() == [x.shape[1] for x in maps]
    assert all(torch.equal(x, seen[name]) for x, name in zip(maps, seen, strict=True))


def test_fx_traces_what_the_network_computes(network):
    model, _ = network
    graph = fx.symbolic_trace(model)
    assert torch.equal(graph(IMAGES), model(IMAGES))


def test_torchvision_extracts_features_by_name():
    model = create_model("racl", **SMALL).eval()
    names = model.feature_info.module_name()
    extracted = create_feature_extractor(model, names)(IMAGES)
    for name, expected in zip(names, model.feature_maps(IMAGES), strict=True):
        assert torch.equal(extracted[name], expected)


def test_a_graph_still_refuses_images_that_do_not_fit():
    graph = fx.symbolic_trace(create_model("racl", **SMALL))
    with pytest.raises(ZooError, match="divisible by 4"):
        graph(torch.rand(1, 3, 10, 10))


@pytest.mark.parametrize("name", ["racl", "vgg19"])
def test_a_classifier_is_replaced_and_removed(name):
    model = create_model(name, channels=4, **({"layers": 3} if name == "racl" else {})).eval()
    features = model.forward_head(model.forward_features(IMAGES), pre_logits=True)
    model.reset_classifier(7)
    assert model.num_classes == 7
    assert model.get_classifier().in_features == model.num_features
    assert model(IMAGES).shape == (2, 7)
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert torch.equal(model(IMAGES), features)
    with pytest.raises(ZooError, match="num_classes=-1"):
        model.reset_classifier(-1)


def test_the_auxiliary_head_follows():
    model = create_model("racl", **SMALL, auxiliary=True)
    model.reset_classifier(5)
    assert [x.shape for x in model.forward_with_auxiliary(IMAGES)] == [(2, 5), (2, 5)]
