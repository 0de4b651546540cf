"""The searched networks under timm's `create_model`."""

import pytest
import torch

from robnet_zoo.zoo import PretrainedWarning

timm = pytest.importorskip("timm")
GREY = torch.rand(1, 1, 8, 8)


def test_timm_builds_the_searched_networks_and_keeps_its_own():
    import robnet_zoo.timm  # noqa: F401

    assert timm.list_models("*racl*") == ["racl"]
    built = timm.create_model("racl", channels=4, layers=3, in_chans=1, num_classes=4)
    assert built(GREY).shape == (1, 4)
    loaded = timm.create_model("racl.digits", pretrained=True)
    assert loaded.config["name"] == "racl.digits"
    with pytest.warns(PretrainedWarning, match="classifier for 4 classes"):
        timm.create_model("racl.digits", pretrained=True, num_classes=4)
    maps = timm.create_model("racl.digits", pretrained=True, features_only=True)
    assert [x.shape[1] for x in maps(GREY)] == maps.feature_info.channels()
    assert timm.models.model_entrypoint("resnet18").__module__ == "timm.models.resnet"
