"""Supernets: published sizes, what the weights do, and that switches leave operations out."""

import pytest
import torch

from robnet_zoo.genotypes import Cell, CellGenotype
from robnet_zoo.models import build_network
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.mixed import shuffle
from robnet_zoo.search.core.spaces import (
    DARTS_OPERATIONS,
    EDGES,
    SOURCES,
    TARGETS,
    Space,
    arnas_space,
    darts_space,
    robnet_space,
)
from robnet_zoo.search.core.supernet import CellWeights, Supernet


@pytest.mark.parametrize(
    ("space", "channels", "parameters"),
    [
        (darts_space(8, partial=4), 16, 299_578),  # PC-DARTS's search network
        (arnas_space(8), 24, 1_882_930),  # ARNAS's
        (robnet_space(20, shared=True), 36, 7_304_086),  # RobNet's cell with every operation
    ],
)
def test_published_supernet_sizes(space, channels, parameters):
    supernet = Supernet(space, channels=channels)
    assert sum(p.numel() for p in supernet.parameters()) == parameters


def test_places_of_the_cell_types():
    roles = [slot.role for slot in arnas_space(20).slots]
    assert roles == ["accurate"] * 6 + ["reduce"] + ["accurate"] * 6 + ["reduce"] + ["robust"] * 6
    assert [slot.multiple for slot in arnas_space(8).slots] == [1, 1, 2, 2, 2, 2, 2, 2]
    assert [slot.multiple for slot in darts_space(8).slots] == [1, 1, 2, 2, 2, 4, 4, 4]
    assert robnet_space(4, shared=False).roles == ("cell0", "cell1", "cell2", "cell3")


def test_switches_give_what_weights_of_0_and_1_give():
    torch.manual_seed(0)
    supernet = Supernet(robnet_space(3, shared=False), channels=4).double().eval()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    draws = torch.rand(3, EDGES, 2) < 0.5
    draws[0, :2] = False  # a node without any input
    switches = {f"cell{i}": CellWeights(tuple(map(tuple, draws[i].tolist()))) for i in range(3)}
    weights = {f"cell{i}": CellWeights(draws[i].double()) for i in range(3)}
    torch.testing.assert_close(supernet(images, switches), supernet(images, weights))


def test_operations_that_are_off_are_not_computed():
    supernet = Supernet(robnet_space(3, shared=True), channels=4)
    off = CellWeights(tuple((edge == 1, False) for edge in range(EDGES)))
    ran = []
    for index, edge in enumerate(supernet.cells[0]._ops):
        first = edge.operations[0].op[1]
        first.register_forward_hook(lambda *_, edge=index: ran.append(edge))
    supernet(torch.rand(1, 3, 8, 8), {"cell": off})
    assert ran == [1]


def test_one_hot_weights_are_the_discrete_network():
    """A supernet that puts all weight on two edges a node is that two-edge network."""
    names = ("skip_connect", "sep_conv_3x3", "dil_conv_5x5")
    torch.manual_seed(0)
    space = Space(names, darts_space(3, partial=1).slots)
    supernet = Supernet(space, channels=4, in_channels=1).double().eval()
    edges = [("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_5x5", 0), ("sep_conv_3x3", 2)]
    edges += [("skip_connect", 1), ("sep_conv_3x3", 3), ("dil_conv_5x5", 2), ("skip_connect", 4)]
    cell = Cell(tuple(edges), (2, 3, 4, 5))
    network = build_network(
        CellGenotype("two", "searched here", "test", {"normal": cell, "reduce": cell}),
        channels=4,
        layers=3,
        in_channels=1,
    )
    table = torch.zeros(EDGES, 3, dtype=torch.float64)
    places = []
    for index, (name, source) in enumerate(edges):
        place = next(e for e in range(EDGES) if TARGETS[e] == index // 2 and SOURCES[e] == source)
        table[place, names.index(name)] = 1
        places.append((place, names.index(name)))
    found = dict(supernet.named_parameters()) | dict(supernet.named_buffers())
    state = network.double().state_dict()
    for key in state:
        name = key
        parts = key.split(".")
        if len(parts) > 3 and parts[2] == "_ops":
            edge, operation = places[int(parts[3])]
            name = ".".join([*parts[:3], str(edge), "operations", str(operation), *parts[4:]])
        if name in found:  # the discrete network's batch norms have weights, left at 1 and 0
            state[key] = found[name]
    network.load_state_dict(state)
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    weights = dict.fromkeys(("normal", "reduce"), CellWeights(table))
    torch.testing.assert_close(network.eval()(images), supernet(images, weights))


def test_partial_channels_pass_by_and_are_shuffled():
    space = Space(("skip_connect", "none"), darts_space(3).slots, partial=4)
    supernet = Supernet(space, channels=8).eval()
    cell, inputs = supernet.cells[0], torch.rand(2, 1, 24, 4, 4)
    table = torch.zeros(EDGES, 2)
    table[0] = 0.5
    edges = torch.zeros(EDGES)
    edges[0] = 1  # the first node is what its first edge gives, the others are nothing
    node = cell(*inputs, CellWeights(table, edges))[:, :8]
    expected = cell.preprocess0(inputs[0])
    expected[:, :2] *= 0.5
    torch.testing.assert_close(node, shuffle(expected, 4))
    assert torch.equal(shuffle(torch.arange(8.0)[None, :, None, None], 4).flatten().long(),
                       torch.tensor([0, 2, 4, 6, 1, 3, 5, 7]))  # fmt: skip


def test_gradients_reach_operation_and_edge_weights():
    supernet = Supernet(darts_space(3, partial=2), channels=4, in_channels=1)
    alpha = torch.full((EDGES, len(DARTS_OPERATIONS)), 0.1, requires_grad=True)
    beta = torch.full((EDGES,), 0.5, requires_grad=True)
    weights = dict.fromkeys(("normal", "reduce"), CellWeights(alpha, beta))
    supernet(torch.rand(2, 1, 8, 8), weights).square().sum().backward()
    assert (alpha.grad[:, 1:] != 0).all() and (alpha.grad[:, 0] == 0).all()
    assert (beta.grad != 0).all()


def test_width_that_cannot_be_parted_is_refused():
    with pytest.raises(ZooError, match="multiple of 8"):
        Supernet(darts_space(8, partial=4), channels=12)
