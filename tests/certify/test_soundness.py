"""No attack may do what a certificate excludes, and looser bounds may not be tighter."""

from itertools import pairwise

import pytest
import torch
from helpers.random_nets import RandomNet, random_batch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.certify import bounds, certified_margin, certified_radius
from robnet_zoo.certify.ball import Ball
from robnet_zoo.certify.margins import METHODS
from robnet_zoo.certify.tracing import trace
from robnet_zoo.certify.zonotope import propagate_zonotopes
from robnet_zoo.genotypes import published
from robnet_zoo.models.networks import build_network
from robnet_zoo.search.core.spaces import darts_space
from robnet_zoo.search.core.supernet import CellWeights, Supernet

ROUNDING = 1e-9


def attacked_logits(model, images, labels, epsilon, norm, restarts=3):
    """Return the logits at the ends of PGD runs and of random walks to the ball's surface."""
    adversary = Adversary(epsilon=epsilon, step_size=epsilon / 3, steps=8, norm=norm, loss="margin")
    found = []
    for restart in range(restarts):
        draws = torch.Generator().manual_seed(restart)
        found.append(model(adversary(model, images, labels, generator=draws)))
        noise = torch.randn(images.shape, generator=draws, dtype=images.dtype)
        size = noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        step = epsilon * (noise.sign() if norm == "Linf" else noise / size)
        found.append(model((images + step).clamp(0, 1)))
    return torch.stack(found).detach()


def least_margin(logits, labels):
    return torch.stack([-margin(one, labels) for one in logits]).amin(0)


ORDER = ("interval", "zonotope", "linear", "optimised")  # each at least as tight as the last


def sound(seed, depth, epsilon, norm, methods):
    """Assert what holds of each method's margins and bounds, and between those of one network."""
    model = RandomNet(seed, depth)
    images, labels = random_batch(seed + 1)
    logits = attacked_logits(model, images, labels, epsilon, norm)
    reached = least_margin(logits, labels)
    scale = ROUNDING * (1 + logits.abs().max())
    margins = {}
    for method in methods:
        margins[method] = certified_margin(model, images, labels, epsilon, norm=norm, method=method)
        assert (margins[method] <= reached + scale).all()
        low, high = bounds(model, images, epsilon, norm=norm, method=method)
        assert (low <= logits.amin(0) + scale).all()
        assert (high >= logits.amax(0) - scale).all()
    assert "mixed" not in methods or (margins["interval"] <= margins["mixed"] + scale).all()
    tighter = [margins[method] for method in ORDER if method in margins]
    for looser, tight in pairwise(tighter):
        assert (looser <= tight + scale).all()


def networks():
    """Draw a network, the images around which it is bounded, and a ball."""
    return given(
        seed=st.integers(0, 2**31),
        depth=st.integers(1, 5),
        epsilon=st.floats(1e-4, 0.5),
        norm=st.sampled_from(["Linf", "L2"]),
    )


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@networks()
def test_no_attack_gets_below_a_certified_margin_or_outside_bounds(seed, depth, epsilon, norm):
    sound(seed, depth, epsilon, norm, METHODS[:-1])


@pytest.mark.slow
@settings(max_examples=8, deadline=None)  # they take as long as all other bounds together
@networks()
# slopes that lose less area may lose more of a margin
@example(seed=991, depth=4, epsilon=0.125, norm="L2")
def test_no_attack_gets_below_a_margin_of_optimised_slopes(seed, depth, epsilon, norm):
    sound(seed, depth, epsilon, norm, ("linear", METHODS[-1]))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), norm=st.sampled_from(["Linf", "L2"]))
def test_no_attack_succeeds_within_a_certified_radius(seed, norm):
    model = RandomNet(seed, 3)
    images, _ = random_batch(seed + 1, count=3)
    labels = model(images).argmax(1)
    radii = certified_radius(model, images, labels, norm=norm)
    for image, label, radius in zip(images, labels, radii.tolist(), strict=True):
        if radius > 0:
            one, own = image[None], label[None]
            logits = attacked_logits(model, one, own, radius, norm)
            assert (least_margin(logits, own) > -ROUNDING).all()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("method", METHODS[:-1])
def test_bounds_of_a_zoo_network_hold_and_meet_its_logits_at_radius_zero(norm, method):
    torch.manual_seed(0)
    model = build_network(published("racl"), channels=2, layers=3, in_channels=1)
    with torch.no_grad():
        model(torch.rand(16, 1, 4, 4))
    model = model.double().eval()
    images, labels = torch.rand(2, 1, 4, 4).double(), torch.tensor([3, 7])
    epsilon = 0.003
    logits = attacked_logits(model, images, labels, epsilon, norm)
    margins = certified_margin(model, images, labels, epsilon, norm=norm, method=method)
    assert (margins <= least_margin(logits, labels) + ROUNDING).all()
    low, high = bounds(model, images, 0.0, norm=norm, method=method)
    torch.testing.assert_close(low, model(images))
    torch.testing.assert_close(high, model(images))


def test_linear_bounds_of_a_small_radius_are_nearly_what_attacks_reach():
    model = RandomNet(7, 3)
    images, labels = random_batch(8)
    reached = least_margin(attacked_logits(model, images, labels, 1e-4, "Linf"), labels)
    margins = certified_margin(model, images, labels, 1e-4)
    clean = certified_margin(model, images, labels, 0.0)
    torch.testing.assert_close(margins, reached, rtol=0, atol=0.05 * (clean - reached).max().item())


@pytest.mark.parametrize(
    ("partial", "methods"), [(1, ("mixed",)), (2, ("interval", "mixed", "zonotope"))]
)
def test_bounds_hold_for_a_supernet_with_architecture_weights(partial, methods):
    torch.manual_seed(0)
    space = darts_space(layers=3, partial=partial)
    supernet = Supernet(space, channels=4, num_classes=3, in_channels=1).double()
    weights = {
        role: CellWeights(torch.randn(14, 8).double().softmax(1), torch.rand(14).double())
        for role in space.roles
    }
    with torch.no_grad():
        supernet(torch.rand(16, 1, 4, 4).double(), weights)
    supernet.eval()

    def model(images):
        return supernet(images, weights)

    images, labels = torch.rand(3, 1, 4, 4).double(), torch.tensor([0, 1, 2])
    logits = attacked_logits(model, images, labels, 0.01, "Linf", restarts=2)
    for method in methods:
        margins = certified_margin(model, images, labels, 0.01, method=method)
        assert (margins <= least_margin(logits, labels) + ROUNDING).all()


@pytest.mark.parametrize("symbols", [0, 3, 1000])
def test_zonotopes_hold_however_few_symbols_they_have(symbols):
    model = RandomNet(11, 4)
    images, labels = random_batch(12)
    ball = Ball(images, torch.full((len(images),), 0.2).double(), "Linf")
    _, logits = propagate_zonotopes(trace(model, images), ball, symbols)
    low, high = logits.box(ball)
    reached = attacked_logits(model, images, labels, 0.2, "Linf")
    assert (low <= reached.amin(0) + ROUNDING).all()
    assert (high >= reached.amax(0) - ROUNDING).all()
    assert len(logits.generators) <= images[0].numel() + symbols
