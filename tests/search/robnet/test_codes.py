"""RobNet codes: what is drawn, counted and written."""

import random

import pytest

from robnet_zoo.genotypes import RobNetGenotype, published
from robnet_zoo.models.count import count_parameters
from robnet_zoo.models.networks import build_network
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet import codes

LARGE = published("robnet_large").cells
FREE = published("robnet_free").cells


@pytest.mark.parametrize("cells", [1, 7])
def test_closed_form_counts_the_parameters_of_the_real_network(cells):
    rng = random.Random(cells)
    for _ in range(4):
        drawn = codes.random_codes(rng, cells, keep=0.4)
        sizes = {"channels": 6, "layers": 7, "num_classes": 13, "in_channels": 1}
        model = build_network(RobNetGenotype("x", "searched here", "", drawn), **sizes)
        assert codes.count_parameters(drawn, **sizes) == count_parameters(model)


def test_published_sizes():
    sizes = {"channels": 36, "layers": 20}
    assert codes.count_parameters(LARGE, **sizes) == 6_842_710
    assert codes.count_parameters(FREE, num_classes=100, **sizes) == 5_491_720
    assert codes.count_parameters(LARGE, channels=64, layers=33) == 33_326_666


def test_counts_of_the_published_cells():
    assert codes.density(LARGE) == 22 / 28
    assert (codes.convolutions(LARGE), codes.identities(LARGE)) == (13, 9)
    assert codes.direct_convolutions(LARGE) == 3  # node 1 -> node 2 has an identity only
    assert (codes.convolutions(FREE), codes.identities(FREE)) == (178, 181)
    assert codes.density(FREE) == pytest.approx(359 / 560)


def test_edges_have_the_papers_names():
    assert codes.DIRECT_EDGES == (1, 4, 8, 13)
    assert codes.INPUT_EDGES == (0, 1, 2, 3, 5, 6, 9, 10)
    assert [codes.EDGE_NAMES[edge] for edge in codes.DIRECT_EDGES] == [
        "in1-node0",
        "node0-node1",
        "node1-node2",
        "node2-node3",
    ]
    only_identity = ("00",) * 8 + ("10",) + ("00",) * 5
    present = [
        name
        for name, bit in zip(codes.FEATURE_NAMES, codes.features((only_identity,)), strict=True)
        if bit
    ]
    assert present == ["node1-node2 identity"]
    assert codes.switches(only_identity)[8] == (False, True)  # convolution, identity


def test_random_codes_keep_the_share_asked_for_and_always_see_the_input():
    rng = random.Random(0)
    drawn = [codes.random_code(rng, keep=0.3) for _ in range(400)]
    assert sum(codes.density((code,)) for code in drawn) / 400 == pytest.approx(0.3, abs=0.02)
    sparse = [codes.random_code(rng, keep=0.02) for _ in range(100)]
    assert all(any(code[edge] != "00" for edge in codes.INPUT_EDGES) for code in sparse)
    assert any(set(code[:2]) == {"00"} for code in drawn)  # a node may stay without input
    assert codes.random_codes(random.Random(5), 3) == codes.random_codes(random.Random(5), 3)


@pytest.mark.parametrize("keep", [0, -1, 1.5])
def test_a_share_that_cannot_be_is_refused(keep):
    with pytest.raises(ZooError, match="keep"):
        codes.random_code(random.Random(0), keep)


def test_text_goes_there_and_back():
    assert codes.from_text(codes.to_text(FREE)) == FREE
    assert codes.to_text(LARGE).count("|") == 0
    for wrong in ("11 01", codes.to_text(LARGE).replace("11", "12"), ""):
        with pytest.raises(ZooError):
            codes.from_text(wrong)
