"""A sub-network taken out of RobNet's supernet computes what the masked supernet computes."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robnet_zoo.genotypes import published
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.spaces import robnet_space
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.robnet.codes import Codes, random_codes
from robnet_zoo.search.robnet.inherit import masks, subnetwork

LAYERS = 3


def supernet_of(shared: bool) -> Supernet:
    torch.manual_seed(0)
    net = Supernet(robnet_space(LAYERS, shared), channels=4)
    for module in net.modules():  # statistics as after training, not 0 and 1
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return net


assert_close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-11)


def images(count: int) -> torch.Tensor:
    """Return images in channels_last, in which supernets compute."""
    return torch.rand(count, 3, 8, 8).contiguous(memory_format=torch.channels_last)


def some_codes(shared: bool) -> list[Codes]:
    rng = random.Random(0)
    drawn = [random_codes(rng, 1 if shared else LAYERS) for _ in range(3)]
    empty_node = ("00",) * 2 + ("10", "01", "11") + ("01",) * 4 + ("10",) * 5
    return [*drawn, (empty_node,) * (1 if shared else LAYERS)]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_a_subnetwork_computes_what_the_masked_supernet_does(shared: bool, train: bool) -> None:
    net = supernet_of(shared).train(train).double()
    x, labels = images(4).double(), torch.tensor([1, 2, 3, 4])
    for codes in some_codes(shared):
        own = subnetwork(net, codes)
        assert own.training == train
        net.zero_grad(set_to_none=True)
        masked = net(x, masks(net, codes))
        assert_close(own(x), masked)
        F.cross_entropy(masked, labels).backward()
        F.cross_entropy(own(x), labels).backward()
        theirs = [p.grad for p in net.parameters() if p.grad is not None]
        assert_close([p.grad for p in own.parameters()], theirs)


def test_training_a_subnetwork_leaves_the_supernet_as_it_is() -> None:
    net = supernet_of(True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    own = subnetwork(net, some_codes(True)[0])
    own(images(4)).sum().backward()
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_taking_a_subnetwork_out_draws_no_random_numbers() -> None:
    net, state = supernet_of(True), torch.get_rng_state()
    subnetwork(net, some_codes(True)[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_published_code_fits() -> None:
    net = supernet_of(True).eval()
    codes = published("robnet_large").cells
    x = images(2)
    assert torch.equal(subnetwork(net, codes)(x), net(x, masks(net, codes)))


def test_codes_for_another_number_of_cells_are_refused() -> None:
    with pytest.raises(ZooError, match="2 cell codes do not fit a supernet that takes 1"):
        subnetwork(supernet_of(True), random_codes(random.Random(0), 2))
