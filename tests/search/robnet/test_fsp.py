"""FSP matrices and distances: against sums by hand, on supernets and on networks of the zoo."""

import random

import numpy as np
import pytest
import torch

from robnet_zoo.genotypes import RobNetGenotype
from robnet_zoo.models.networks import build_network
from robnet_zoo.search.core.spaces import robnet_space
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.robnet.codes import deep_distance, random_code, switches
from robnet_zoo.search.robnet.fsp import fsp_distances, fsp_matrix

CODE = random_code(random.Random(0))


def images(count, seed):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def network():
    genotype = RobNetGenotype("x", "searched here", "", (CODE,))
    return build_network(genotype, channels=4, layers=3, in_channels=1).eval()


def by_hand(inputs, outputs):
    """Eq. 3 as its sums are written, for one image and maps of one size."""
    channels_in, height, width = inputs.shape
    matrix = np.zeros((channels_in, outputs.shape[0]))
    for i in range(channels_in):
        for j in range(outputs.shape[0]):
            for s in range(height):
                for t in range(width):
                    matrix[i, j] += inputs[i, s, t] * outputs[j, s, t] / (height * width)
    return matrix


def test_matrix_of_known_numbers():
    inputs = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 1.0]]]])
    outputs = torch.tensor([[[[1.0, 1.0], [1.0, 3.0]]]])
    # (1*1 + 2*1 + 3*1 + 4*3) / 4 = 4.5 and (0 + 1*1 + 0 + 1*3) / 4 = 1
    assert fsp_matrix(inputs, outputs).tolist() == [[[4.5], [1.0]]]


def test_larger_maps_are_averaged_over_windows():
    inputs = torch.arange(16.0).reshape(1, 1, 4, 4)  # window means 2.5, 4.5, 10.5, 12.5
    outputs = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]])
    assert fsp_matrix(inputs, outputs).item() == pytest.approx((2.5 + 2 * 12.5) / 4)
    assert fsp_matrix(outputs, inputs).item() == pytest.approx((2.5 + 2 * 12.5) / 4)


def test_distances_of_a_network_are_those_of_its_maps():
    model, clean = network(), images(2, 0)
    attacked = (clean + 0.1).clamp(0, 1)
    distances = fsp_distances(model.cells, model, clean, attacked)
    assert distances.shape == (3, 2)
    expected = []
    for one in (clean, attacked):
        with torch.no_grad():
            stem = model.stem(one)
            first = model.cells[0](stem, stem)
        maps = [(stem[n].double().numpy(), first[n].double().numpy()) for n in range(2)]
        expected.append([by_hand(*pair) for pair in maps])
    for image in range(2):
        distance = ((expected[0][image] - expected[1][image]) ** 2).sum()
        assert distances[0, image].item() == pytest.approx(distance, rel=1e-3)
    assert (distances > 0).all()
    assert not any(module._forward_hooks for module in model.modules())  # nothing is left behind


def test_untouched_images_have_no_distance_and_small_changes_little():
    model, clean = network(), images(3, 1)
    assert fsp_distances(model.cells, model, clean, clean).max() < 1e-9
    near, far = (
        fsp_distances(model.cells, model, clean, (clean + step).clamp(0, 1)).mean()
        for step in (0.01, 0.3)
    )
    assert 0 < near < far


def test_a_masked_supernet_gives_the_distances_of_the_network_taken_out():
    supernet = Supernet(robnet_space(3, shared=True), channels=4, in_channels=1).eval()
    model = network()
    inherited = {}
    for key in model.state_dict():
        # the supernet holds a convolution as operations.0 and an identity as operations.1
        path = key
        for part, place in ((".op.conv.op.", ".operations.0.op."), (".op.res.", ".operations.1.")):
            path = path.replace(part, place)
        if path == key and "._ops." in key:
            kind = "0.op" if ".op.op." in key else "1"
            path = key.replace(".op.op." if kind == "0.op" else ".op.", f".operations.{kind}.")
        inherited[key] = supernet.state_dict()[path]
    model.load_state_dict(inherited)
    clean = images(2, 2)
    attacked = (clean + 0.2).clamp(0, 1)
    weights = {"cell": CellWeights(switches(CODE))}
    masked = fsp_distances(supernet.cells, lambda x: supernet(x, weights), clean, attacked)
    taken_out = fsp_distances(model.cells, model, clean, attacked)
    torch.testing.assert_close(masked, taken_out, rtol=1e-4, atol=1e-6)


def test_deep_cells_are_the_last_third():
    assert deep_distance([9.0, 9.0, 9.0, 9.0, 1.0, 3.0]) == 2.0
    assert deep_distance([9.0, 9.0, 1.5]) == 1.5
