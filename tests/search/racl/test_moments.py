"""Log-normal moments of sums and networks, against worked values and Monte Carlo."""

import math

import pytest
import torch

from robnet_zoo.search.core.spaces import EDGES, TARGETS
from robnet_zoo.search.racl.moments import (
    LogNormal,
    edge_moments,
    network_moments,
    node_moments,
    sum_of,
)


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


ALPHA = LogNormal(doubles(-2, -1.5, -1.8, -2.2, -1.9), doubles(0.3, 0.2, 0.4, 0.1, 0.25) ** 2)
LOG_LAMBDA = doubles(1, 1, 0.5, 2, 3).log()
EDGE = (0.12741159508100766, 0.014940697324866397)


def test_the_edge_of_the_worked_example():
    found = edge_moments(ALPHA, LOG_LAMBDA)
    assert found.mean.item() == pytest.approx(EDGE[0], abs=1e-10)
    assert found.variance.item() == pytest.approx(EDGE[1], abs=1e-10)


def test_the_node_of_the_worked_example():
    edges = LogNormal(doubles(EDGE[0], EDGE[0] + 0.4), doubles(EDGE[1], 1.5 * EDGE[1]))
    beta = LogNormal(doubles(-0.7, -0.6), doubles(0.2, 0.3) ** 2)
    # a cell whose first node is the example; the others repeat an edge of theirs
    rest = [0] * (EDGES - 2)
    whole = [torch.cat([part, part[rest]]) for part in (*beta, *edges)]
    nodes = node_moments(LogNormal(*whole[:2]), LogNormal(*whole[2:]))
    assert nodes.mean[0].item() == pytest.approx(0.4202360649769061, abs=1e-10)
    assert nodes.variance[0].item() == pytest.approx(0.053412265002605715, abs=1e-10)


def test_the_sum_has_the_mean_and_variance_of_samples():
    draws = torch.randn(400_000, 5, generator=torch.Generator().manual_seed(0)).double()
    sums = (ALPHA.mean + LOG_LAMBDA + ALPHA.variance.sqrt() * draws).exp().sum(1)
    found = edge_moments(ALPHA, LOG_LAMBDA)
    mean = (found.mean + found.variance / 2).exp()
    assert mean.item() == pytest.approx(sums.mean().item(), rel=2e-3)
    variance = found.variance.expm1() * mean**2
    assert variance.item() == pytest.approx(sums.var().item(), rel=2e-2)


def random_network(seed=0, cells=2, operations=3):
    generator = torch.Generator().manual_seed(seed)
    alpha = torch.randn(cells, EDGES, operations, generator=generator, dtype=torch.float64) - 1
    beta = torch.randn(cells, EDGES, generator=generator, dtype=torch.float64) - 1
    lam = torch.randn(cells, EDGES, operations, generator=generator, dtype=torch.float64) / 2
    return alpha, torch.full_like(alpha, 0.04), beta, torch.full_like(beta, 0.02), lam


def test_the_network_is_the_product_over_its_nodes():
    alpha, va, beta, vb, lam = random_network()
    found = network_moments(LogNormal(alpha, va), LogNormal(beta, vb), lam)
    draws = torch.Generator().manual_seed(1)
    count = 20_000
    noise_a = torch.randn(count, *alpha.shape, generator=draws, dtype=torch.float64)
    noise_b = torch.randn(count, *beta.shape, generator=draws, dtype=torch.float64)
    edges = (alpha + lam + va.sqrt() * noise_a).exp().sum(-1)
    weighted = (beta + vb.sqrt() * noise_b).exp() * edges
    nodes = torch.stack(
        [weighted[..., [t == node for t in TARGETS]].sum(-1) for node in range(4)], dim=-1
    )
    logs = nodes.log().sum((1, 2))
    assert found.mean.item() == pytest.approx(logs.mean().item(), abs=0.02)
    assert found.variance.item() == pytest.approx(logs.var().item(), rel=0.05)


def test_gradients():
    inputs = [value.requires_grad_() for value in random_network(cells=1)[:4]]
    lam = random_network(cells=1)[4]

    def score(alpha, va, beta, vb):
        return tuple(network_moments(LogNormal(alpha, va), LogNormal(beta, vb), lam))

    assert torch.autograd.gradcheck(score, inputs)


def test_an_operation_with_constant_zero_is_left_out():
    means = doubles(-1, 0.5, -2).requires_grad_()
    zero = LogNormal(means + doubles(0, -math.inf, 0), doubles(0.1, 0.2, 0.3))
    found = sum_of(zero)
    kept = sum_of(LogNormal(doubles(-1, -2), doubles(0.1, 0.3)))
    assert found.mean.item() == pytest.approx(kept.mean.item(), abs=1e-14)
    assert found.variance.item() == pytest.approx(kept.variance.item(), abs=1e-14)
    (found.mean + found.variance).backward()
    assert means.grad[1] == 0
    assert means.grad.isfinite().all()


def test_constants_add_up_without_variance():
    means = doubles(-1, 0.5, 2).requires_grad_()
    found = sum_of(LogNormal(means, torch.zeros(3, dtype=torch.float64)))
    assert found.mean.item() == pytest.approx(math.log(sum(map(math.exp, (-1, 0.5, 2)))), abs=1e-14)
    assert found.variance.item() < 1e-200
    found.mean.backward()
    torch.testing.assert_close(means.grad, doubles(-1, 0.5, 2).softmax(0))


def test_large_terms_do_not_overflow():
    found = sum_of(LogNormal(doubles(800, 801), doubles(0.1, 0.1)))
    small = sum_of(LogNormal(doubles(0, 1), doubles(0.1, 0.1)))
    assert found.mean.item() == pytest.approx(small.mean.item() + 800, abs=1e-9)
    assert found.variance.item() == pytest.approx(small.variance.item(), abs=1e-9)
