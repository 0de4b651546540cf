"""Lipschitz constants of operations, against the singular values of the maps written out."""

import math

import pytest
import torch
from torch import nn

from robnet_zoo.models.operations import OPERATIONS
from robnet_zoo.search.core.spaces import DARTS_OPERATIONS, EDGES, darts_space
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.racl.lipschitz import OperationConstants, factors, log_batch_norms
from robnet_zoo.search.racl.spectral import SpectralNorms

SIDE = 8


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def exact_norm(linear, width, side):
    """Return the largest singular value of a linear map of (width, side, side) images."""
    basis = torch.eye(width * side * side, dtype=torch.float64).view(-1, width, side, side)
    with torch.no_grad():
        return float(torch.linalg.matrix_norm(linear(basis).flatten(1), ord=2))


def settled(convs, steps=1500):
    norms = SpectralNorms(convs, seeded())
    for _ in range(steps):
        found = norms.step()
    return found


def small_conv(**settings):
    conv = nn.Conv2d(4, 4, bias=False, **settings).double()
    with torch.no_grad():
        conv.weight.normal_(generator=seeded(1))
    return conv


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 5, "padding": 4, "dilation": 2, "stride": 2, "groups": 4},
        {"kernel_size": 5, "padding": 2, "groups": 2},
        {"kernel_size": 3, "padding": 1, "groups": 4},
    ],
    ids=str,
)
def test_power_iteration_finds_the_largest_singular_value(settings):
    conv = small_conv(**settings)
    assert settled([(conv, SIDE)]) == pytest.approx(exact_norm(conv, 4, SIDE), rel=1e-6)


def test_convolutions_that_iterate_together_keep_their_own_norms():
    convs = [small_conv(kernel_size=3, padding=1, groups=2) for _ in range(3)]
    for scale, conv in enumerate(convs, start=1):
        conv.weight.data *= scale
    other = small_conv(kernel_size=1)
    found = settled([(convs[0], SIDE), (other, SIDE), (convs[1], SIDE), (convs[2], SIDE)])
    wanted = [exact_norm(conv, 4, SIDE) for conv in (convs[0], other, convs[1], convs[2])]
    assert found.tolist() == pytest.approx(wanted, rel=1e-6)


def test_a_kept_vector_follows_weights_that_change():
    conv = small_conv(kernel_size=3, padding=1)
    norms = SpectralNorms([(conv, SIDE)], seeded())
    for _ in range(800):
        norms.step()
    conv.weight.data *= 1.5
    assert norms.step() == pytest.approx(exact_norm(conv, 4, SIDE), rel=1e-4)


def linear_part(operation):
    """Return a strided skip connection without its ReLU and batch norm."""

    def apply(x):
        return torch.cat([operation.conv_1(x), operation.conv_2(x[:, :, 1:, 1:])], dim=1)

    return apply


def test_the_strided_skip_connection_counts_as_one_linear_map():
    operation = OPERATIONS["skip_connect"](4, 2, False).double()
    (factor,) = factors(operation, SIDE)
    wanted = exact_norm(linear_part(operation), 4, SIDE)
    assert float(settled(factor).max()) == pytest.approx(wanted, rel=1e-6)


def test_a_strided_separable_convolution_reads_the_smaller_map_behind_its_stride():
    operation = OPERATIONS["sep_conv_3x3"](4, 2, False)
    sides = [side for factor in factors(operation, SIDE) for _, side in factor]
    assert sides == [8, 4, 4, 4]


@pytest.fixture
def supernet():
    torch.manual_seed(0)
    return Supernet(darts_space(3, partial=2), channels=4, in_channels=1).double()


def test_constants_of_a_supernet(supernet):
    constants = OperationConstants(supernet, SIDE, seeded())
    for _ in range(300):
        found = constants.step().exp()
    assert found.shape == (3, EDGES, len(DARTS_OPERATIONS))
    by_name = dict(zip(DARTS_OPERATIONS, found.unbind(2), strict=True))
    assert (by_name["none"] == 0).all()
    assert (by_name["max_pool_3x3"] == 1).all()
    assert (by_name["skip_connect"][0] == 1).all()  # strides start in the second cell
    assert (by_name["avg_pool_3x3"][0] == 1).all()
    assert by_name["avg_pool_3x3"][1, 0].item() == pytest.approx(1 / math.sqrt(2))
    # the second cell reads 8x8 maps and strides; the third reads 4x4 maps and strides
    cells = supernet.cells
    skip = cells[1]._ops[0].operations[DARTS_OPERATIONS.index("skip_connect")]
    assert by_name["skip_connect"][1, 0].item() == pytest.approx(
        exact_norm(linear_part(skip), 4, SIDE), rel=1e-3
    )
    for cell, edge, side in ((0, 3, 8), (1, 0, 8), (1, 4, 4), (2, 1, 4)):
        for name in ("sep_conv_5x5", "dil_conv_3x3"):
            operation = cells[cell]._ops[edge].operations[DARTS_OPERATIONS.index(name)]
            wanted = math.prod(
                exact_norm(conv, conv.in_channels, at)
                for factor in factors(operation, side)
                for conv, at in factor
            )
            assert by_name[name][cell, edge].item() == pytest.approx(wanted, rel=5e-3)


def test_batch_norms_count_when_asked_for(supernet):
    operation = supernet.cells[0]._ops[2].operations[DARTS_OPERATIONS.index("avg_pool_3x3")]
    operation[1].running_var.copy_(torch.tensor([4.0, 9.0]))
    assert log_batch_norms(operation) == pytest.approx(-math.log(2), abs=1e-5)
    plain, counted = (
        OperationConstants(supernet, SIDE, seeded(), batch_norm=asked).step()
        for asked in (False, True)
    )
    place = (0, 2, DARTS_OPERATIONS.index("avg_pool_3x3"))
    assert counted[place] - plain[place] == pytest.approx(-math.log(2), abs=1e-5)
    assert counted[0, 2, 0] == -math.inf
