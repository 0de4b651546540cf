"""Where bounds and first-order estimates have known values, and what is refused."""

import pytest
import torch
from helpers.random_nets import RandomNet, random_batch
from torch import nn
from torch.nn import functional as F

from robnet_zoo.certify import bounds, certified_margin, certified_radius
from robnet_zoo.certify.jacobian import projected_norms, row_norms, top_norms
from robnet_zoo.certify.margins import METHODS
from robnet_zoo.genotypes import published
from robnet_zoo.models.baselines import build_baseline
from robnet_zoo.models.networks import build_network
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.spaces import darts_space
from robnet_zoo.search.core.supernet import CellWeights, Supernet


def linear_net():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.AvgPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(12, 4)).double().eval()


def grey(count=2):
    return torch.full((count, 1, 4, 4), 0.5, dtype=torch.float64), torch.arange(count)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("norm", "dual"), [("Linf", 1), ("L2", 2)])
def test_all_methods_are_exact_for_a_linear_network(method, norm, dual):
    if (method, norm) == ("interval", "L2"):
        pytest.skip("boxes see a cube around an L2 ball")
    model, (images, _) = linear_net(), grey()
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x).sum(0), images)
    reach = 0.1 * jacobian.flatten(2).norm(p=dual, dim=2).T
    low, high = bounds(model, images, 0.1, norm=norm, method=method)
    torch.testing.assert_close(high, model(images) + reach)
    torch.testing.assert_close(low, model(images) - reach)
    torch.testing.assert_close(0.1 * row_norms(model, images, norm), reach)


def test_balls_are_cut_to_what_pixels_can_be():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).double().eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    images = torch.tensor([0.0, 0.7], dtype=torch.float64).view(1, 1, 1, 2)
    low, high = bounds(model, images, 0.5)
    assert low[0, 0].item() == pytest.approx(0.0 + 0.2)
    assert high[0, 0].item() == pytest.approx(0.5 + 1.0)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_radius_of_a_linear_network_is_its_distance_to_the_boundary(norm):
    model, (images, _) = linear_net(), grey()
    labels = model(images).argmax(1)
    with torch.no_grad():
        model[4].bias[:] = 0.0
        model[4].bias[labels[0]] = 0.02
    labels = model(images).argmax(1)
    weight = torch.autograd.functional.jacobian(lambda x: model(x).sum(0), images).flatten(2)
    for row, label in enumerate(labels):
        lead = model(images)[row, label] - model(images)[row]
        slopes = (weight[label, row] - weight[:, row]).norm(p=1 if norm == "Linf" else 2, dim=1)
        exact = min((lead / slopes)[k].item() for k in range(4) if k != label)
        found = certified_radius(model, images, labels, norm=norm, bisections=14)[row].item()
        assert found <= exact + 1e-9
        assert found == pytest.approx(exact, rel=1e-3)
    wrong = (labels + 1) % 4
    assert certified_radius(model, images, wrong, norm=norm).tolist() == [0.0, 0.0]


class ReluMinusHalf(nn.Module):
    """Logits relu(z) - z / 2 and 0, with z = x - 0.5."""

    def forward(self, x):
        z = x.flatten(1) - 0.5
        lead = F.relu(z) - 0.5 * z
        return torch.cat([lead, 0 * lead], dim=1)


def test_bounds_of_one_relu_are_what_can_be_worked_out_by_hand():
    images = torch.full((1, 1, 1, 1), 0.6, dtype=torch.float64)
    # z in [-0.2, 0.4]: relu(z) >= z and relu(z) <= (z + 0.2) 2/3, or relu(z) in [0, 0.4];
    # zonotopes have 0 <= relu(z) - z 2/3 <= 0.4/3, and the best slope below is 1/2
    expected = {
        "interval": (-0.2, 0.5),
        "mixed": (-0.1, 0.2),
        "zonotope": (-0.1 / 3, 0.2),
        "linear": (-0.1 / 3, 0.2),
        "optimised": (0.0, 0.2),
    }
    for method, (low, high) in expected.items():
        found = bounds(ReluMinusHalf(), images, 0.3, method=method)
        assert [part[0, 0].item() for part in found] == pytest.approx([low, high], abs=1e-3)


class Branches(nn.Module):
    """Logits relu(z1 + z2) - relu(z1 - z2) and 0, with z = x - 0.5: branches of equal length."""

    def forward(self, x):
        first, second = (x.flatten(1) - 0.5).chunk(2, 1)
        lead = F.relu(first + second) - F.relu(first - second)
        return torch.cat([lead, 0 * lead], dim=1)


@pytest.mark.parametrize("method", METHODS)
def test_relus_of_two_branches_are_no_more_alike_than_they_are(method):
    images = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    low, high = bounds(Branches(), images, 0.3, method=method)
    assert high[0, 0] >= 0.6 - 1e-9
    assert low[0, 0] <= -0.6 + 1e-9


def pooling(shift):
    """Return a network of two max pools, with `shift` added to what both of them read."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 2), nn.Conv2d(3, 4, 1)
    for layer, shifted in zip(layers, (0, shift, shift), strict=True):
        layer.bias.data += shift * (layer is not layers[-1])
        layer.bias.data -= shifted * layer.weight.data.sum((1, 2, 3))
    first, second, last = layers
    pools = nn.MaxPool2d(2, 1), nn.MaxPool2d(2, 1)
    return nn.Sequential(first, pools[0], second, pools[1], last, nn.Flatten()).double()


def test_bounds_of_max_pools_do_not_depend_on_the_sign_of_what_they_read():
    _, labels = grey()
    images = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    models = pooling(0.0), pooling(100.0)
    torch.testing.assert_close(*(model(images) for model in models), rtol=1e-4, atol=1e-4)
    margins = [certified_margin(model, images, labels, 0.1) for model in models]
    torch.testing.assert_close(*margins, rtol=1e-3, atol=1e-3)


def assert_gradient(value, leaves, step=1e-6):
    """Compare autograd with a central difference along a random direction of each leaf."""
    gradients = torch.autograd.grad(value(), leaves)
    draws = torch.Generator().manual_seed(3)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        way = torch.randn(leaf.shape, generator=draws, dtype=leaf.dtype)
        ends = []
        for move in (step, -2 * step, step):
            with torch.no_grad():
                leaf.add_(move * way)
                ends.append(value().item())
        slope = (ends[0] - ends[1]) / (2 * step)
        assert slope != 0
        assert (gradient * way).sum().item() == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("method", ["interval", "mixed"])
def test_margins_are_differentiable_in_a_supernets_architecture_weights(method):
    torch.manual_seed(1)
    space = darts_space(layers=3, partial=2)
    supernet = Supernet(space, channels=4, num_classes=3, in_channels=1).double()
    scores = (0.5 * torch.randn(len(space.roles), 14, 8).double()).requires_grad_()
    betas = torch.rand(len(space.roles), 14).double().requires_grad_()
    images, labels = torch.rand(1, 1, 4, 4).double(), torch.tensor([1])

    def model(x):
        each = zip(space.roles, scores.softmax(2), betas, strict=True)
        return supernet(x, {role: CellWeights(alpha, beta) for role, alpha, beta in each})

    with torch.no_grad():
        model(torch.rand(16, 1, 4, 4).double())
    supernet.eval()
    assert_gradient(
        lambda: certified_margin(model, images, labels, 1e-4, method=method).sum(), [scores, betas]
    )


@pytest.mark.parametrize("method", ["interval", "mixed", "zonotope", "linear"])
def test_margins_are_differentiable_in_what_multiplies_values_and_in_weights(method):
    first, second = RandomNet(1, 2), RandomNet(2, 2)
    shares = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    images, labels = random_batch(3, count=1)

    def value():
        return certified_margin(
            lambda x: shares[0] * first(x) + shares[1] * second(x),
            images,
            labels,
            0.05,
            method=method,
        ).sum()

    assert_gradient(value, [shares, first.layers[0][0].weight, second.classifier.weight])


def test_jacobian_norms_bound_the_change_of_logits_to_first_order():
    model = RandomNet(3, 4)
    images, _ = random_batch(4)
    norms = row_norms(model, images)
    noise = 1e-6 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).sign()
    change = (model(images + noise) - model(images)).abs()
    assert (change <= 1e-6 * norms * (1 + 1e-4) + 1e-12).all()


def test_random_projections_estimate_the_root_mean_square_of_the_rows():
    model, (images, _) = linear_net(), grey()
    exact = row_norms(model, images, "L2").square().mean(1).sqrt()
    draws = torch.Generator().manual_seed(0)
    found = projected_norms(model, images, draws, projections=3000)
    torch.testing.assert_close(found, exact, rtol=0.03, atol=0)


def test_top_norms_are_the_rows_of_the_largest_logits():
    model = RandomNet(5, 3)
    images, _ = random_batch(6)
    first = model(images).argmax(1)
    rows = row_norms(model, images, "L2").gather(1, first[:, None])
    torch.testing.assert_close(top_norms(model, images, 1, "L2"), rows)


def test_jacobian_norms_are_differentiable_in_the_weights():
    model, (images, _) = linear_net(), grey()
    row_norms(model, images).sum().backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_a_model_that_is_too_large_is_refused_with_its_size_before_any_work():
    model = build_network(published("racl"), channels=16, layers=20, in_channels=1).eval()
    with pytest.raises(ZooError, match=r"too large to certify.*GiB.*feasible"):
        certified_margin(model, torch.rand(1, 1, 8, 8), torch.tensor([0]), 0.01)


@pytest.mark.parametrize("name", ["resnet18", "wrn_28_10", "densenet121"])
def test_human_designed_networks_have_interval_bounds(name):
    model = build_baseline(name, channels=2, in_channels=1).double().eval()
    images = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    low, high = bounds(model, images, 0.0, method="interval")
    torch.testing.assert_close(low, model(images))
    torch.testing.assert_close(high, model(images))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"norm": "L0"}, "norm"), ({"method": "exact"}, "method"), ({"epsilon": -0.1}, "epsilon")],
)
def test_wrong_arguments_are_named(change, words):
    images, _ = grey()
    with pytest.raises(ZooError, match=words):
        bounds(linear_net(), images, **({"epsilon": 0.1} | change))
