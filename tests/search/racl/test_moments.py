"""Log-normal moments of sums and of cells that vary together: worked values and Monte Carlo."""

import math

import pytest
import torch

from robnet_zoo.search.core.spaces import EDGES, TARGETS
from robnet_zoo.search.racl.moments import (
    Joint,
    LogNormal,
    cells_moments,
    edge_moments,
    node_moments,
    sums_of,
)


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


ALPHA = LogNormal(doubles(-2, -1.5, -1.8, -2.2, -1.9), doubles(0.3, 0.2, 0.4, 0.1, 0.25) ** 2)
LOG_LAMBDA = doubles(1, 1, 0.5, 2, 3).log()
EDGE = (0.12741159508100766, 0.014940697324866397)


def one_edge(alpha=ALPHA, log_lambda=LOG_LAMBDA, **settings):
    """Return mean and variance of an edge in a single cell."""
    joint = edge_moments(
        LogNormal(alpha.mean[None], alpha.variance[None]), log_lambda[None, None], **settings
    )
    return joint.mean[0, 0], joint.covariance[0, 0, 0]


def one_sum(terms):
    joint = sums_of(terms.mean[None], terms.variance[None, None])
    return LogNormal(joint.mean[0], joint.covariance[0, 0])


def test_the_edge_of_the_worked_example():
    mean, variance = one_edge()
    assert mean.item() == pytest.approx(EDGE[0], abs=1e-10)
    assert variance.item() == pytest.approx(EDGE[1], abs=1e-10)


def test_the_node_of_the_worked_example():
    means, variances = doubles(EDGE[0], EDGE[0] + 0.4), doubles(EDGE[1], 1.5 * EDGE[1])
    beta = LogNormal(doubles(-0.7, -0.6), doubles(0.2, 0.3) ** 2)
    # a cell whose first node is the example; the others repeat an edge of theirs
    rest = [0] * (EDGES - 2)
    means, variances, *beta = (torch.cat([part, part[rest]]) for part in (means, variances, *beta))
    nodes = node_moments(LogNormal(*beta), Joint(means[:, None], variances[:, None, None]))
    assert nodes.mean[0].item() == pytest.approx(0.4202360649769061, abs=1e-10)
    assert nodes.covariance[0].item() == pytest.approx(0.053412265002605715, abs=1e-10)


def test_the_sum_has_the_mean_and_variance_of_samples():
    draws = torch.randn(400_000, 5, generator=torch.Generator().manual_seed(0)).double()
    sums = (ALPHA.mean + LOG_LAMBDA + ALPHA.variance.sqrt() * draws).exp().sum(1)
    mean_log, variance_log = one_edge()
    mean = (mean_log + variance_log / 2).exp()
    assert mean.item() == pytest.approx(sums.mean().item(), rel=2e-3)
    assert (variance_log.expm1() * mean**2).item() == pytest.approx(sums.var().item(), rel=2e-2)


def random_cells(seed=0, cells=3, operations=4, deviation=0.2):
    """Return alpha, beta and constants of cells of one type; the first operation is "none"."""
    generator = torch.Generator().manual_seed(seed)
    alpha = torch.randn(EDGES, operations, generator=generator, dtype=torch.float64) / 2 - 1
    beta = torch.randn(EDGES, generator=generator, dtype=torch.float64) / 2 - 1
    lam = torch.randn(cells, EDGES, operations, generator=generator, dtype=torch.float64) / 2
    lam[..., 0] = -math.inf
    return (
        LogNormal(alpha, torch.full_like(alpha, deviation**2)),
        LogNormal(beta, torch.full_like(beta, deviation**2)),
        lam,
    )


def sampled(alpha, beta, lam, *, normalise, count=20_000):
    """Return the logarithms of the score of so many samples of alpha and beta."""
    draws = torch.Generator().manual_seed(1)
    alphas, betas = (
        (part.mean + part.variance.sqrt() * noise).exp()
        for part in (alpha, beta)
        for noise in [torch.randn(count, *part.mean.shape, generator=draws, dtype=torch.float64)]
    )
    total = torch.zeros(count, dtype=torch.float64)
    for cell in lam:
        edges = (alphas * cell.exp()).sum(-1)
        if normalise:
            edges = edges / alphas[..., 1:].sum(-1)
        for node in range(4):
            into = torch.tensor(TARGETS) == node
            score = (betas * edges)[:, into].sum(1)
            total += (score / betas[:, into].sum(1) if normalise else score).log()
    return total


@pytest.mark.parametrize("normalise", [False, True])
def test_cells_of_a_type_vary_together_as_samples_of_their_one_architecture_do(normalise):
    alpha, beta, lam = random_cells()
    together = cells_moments(alpha, beta, lam, normalise=normalise)
    logs = sampled(alpha, beta, lam, normalise=normalise)
    assert together.mean.item() == pytest.approx(logs.mean().item(), abs=0.02)
    assert together.variance.item() == pytest.approx(logs.var().item(), rel=0.06)


def test_the_printed_formula_takes_cells_for_independent_and_is_too_sure():
    alpha, beta, lam = random_cells()
    each = [cells_moments(alpha, beta, cell[None]) for cell in lam]
    together = cells_moments(alpha, beta, lam)
    torch.testing.assert_close(sum(cell.mean for cell in each), together.mean)
    assert sum(cell.variance for cell in each) < 0.5 * together.variance


def test_a_common_factor_lowers_the_printed_score_alone():
    alpha, beta, lam = random_cells()
    halved = LogNormal(alpha.mean - math.log(2), alpha.variance)
    printed = [cells_moments(weights, beta, lam).mean for weights in (alpha, halved)]
    torch.testing.assert_close(printed[0] - printed[1], doubles(12 * math.log(2))[0])
    normalised = [cells_moments(weights, beta, lam, normalise=True) for weights in (alpha, halved)]
    torch.testing.assert_close(*normalised)


def test_weight_on_none_does_not_lower_the_normalised_score():
    alpha, beta, lam = random_cells()
    more = alpha.mean.clone()
    more[:, 0] += 5
    torch.testing.assert_close(
        cells_moments(LogNormal(more, alpha.variance), beta, lam, normalise=True),
        cells_moments(alpha, beta, lam, normalise=True),
    )


def test_equal_constants_make_a_certain_normalised_score():
    alpha, beta, lam = random_cells()
    equal = torch.where(lam.isneginf(), lam, math.log(0.5))
    certain = cells_moments(alpha, beta, equal, normalise=True)
    assert certain.mean.item() == pytest.approx(12 * math.log(0.5), abs=1e-10)
    assert certain.variance.item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("normalise", [False, True])
def test_gradients(normalise):
    alpha, beta, lam = random_cells(cells=2, operations=3)
    inputs = [value.requires_grad_() for value in (*alpha, *beta)]

    def score(*parts):
        return tuple(
            cells_moments(LogNormal(*parts[:2]), LogNormal(*parts[2:]), lam, normalise=normalise)
        )

    assert torch.autograd.gradcheck(score, inputs)


def test_an_operation_with_constant_zero_is_left_out():
    means = doubles(-1, 0.5, -2).requires_grad_()
    left = one_sum(LogNormal(means + doubles(0, -math.inf, 0), doubles(0.1, 0.2, 0.3)))
    kept = one_sum(LogNormal(doubles(-1, -2), doubles(0.1, 0.3)))
    torch.testing.assert_close(tuple(left), tuple(kept), atol=1e-14, rtol=0)
    (left.mean + left.variance).backward()
    assert means.grad[1] == 0
    assert means.grad.isfinite().all()


def test_constants_add_up_without_variance():
    means = doubles(-1, 0.5, 2).requires_grad_()
    total = one_sum(LogNormal(means, torch.zeros(3, dtype=torch.float64)))
    assert total.mean.item() == pytest.approx(math.log(sum(map(math.exp, (-1, 0.5, 2)))), abs=1e-14)
    assert total.variance.item() == 0
    total.mean.backward()
    torch.testing.assert_close(means.grad, doubles(-1, 0.5, 2).softmax(0))


def test_large_terms_do_not_overflow():
    large = one_sum(LogNormal(doubles(800, 801), doubles(0.1, 0.1)))
    small = one_sum(LogNormal(doubles(0, 1), doubles(0.1, 0.1)))
    assert large.mean.item() == pytest.approx(small.mean.item() + 800, abs=1e-9)
    assert large.variance.item() == pytest.approx(small.variance.item(), abs=1e-9)
