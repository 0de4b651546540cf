"""The confidence constraint: its sign, its probability, its cost and its multiplier."""

import math

import pytest
import torch

from robnet_zoo.search.racl.constraint import Constraint
from robnet_zoo.search.racl.moments import LogNormal

QUANTILE = 1.2815515655446004  # of the standard normal at 0.9


def score(mean, variance):
    return LogNormal(
        torch.tensor(mean, dtype=torch.float64), torch.tensor(variance, dtype=torch.float64)
    )


def constraint(**settings):
    return Constraint(**{"log_target": 2.0, "eta": 0.9, "rho": 0.5, **settings})


def test_violation_by_variance_and_by_deviation():
    found = constraint().violation(score(1.5, 0.04))
    assert found.item() == pytest.approx(1.5 + QUANTILE * 0.04 - 2, abs=1e-12)
    found = constraint(spread="deviation").violation(score(1.5, 0.04))
    assert found.item() == pytest.approx(1.5 + QUANTILE * 0.2 - 2, abs=1e-12)


@pytest.mark.parametrize("eta", [0.5, 0.7, 0.9])
def test_the_deviation_meets_its_constraint_exactly_where_the_probability_is_eta(eta):
    asked = constraint(spread="deviation", eta=eta)
    sigma = 0.3
    edge = asked.log_target - sigma * (
        torch.special.ndtri(torch.tensor(eta, dtype=torch.float64)).item()
    )
    assert asked.violation(score(edge, sigma**2)).item() == pytest.approx(0, abs=1e-12)
    assert asked.probability(score(edge, sigma**2)).item() == pytest.approx(eta, abs=1e-12)


def test_probability_is_that_of_samples():
    draws = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).double()
    share = ((1.8 + 0.5 * draws).exp() <= math.exp(2.0)).double().mean()
    found = constraint().probability(score(1.8, 0.25))
    assert found.item() == pytest.approx(share.item(), abs=5e-3)


def test_the_literal_penalty_also_pulls_a_satisfied_constraint():
    c = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    cost = constraint(penalty="literal").cost(c, theta=0.1)
    assert cost.item() == pytest.approx(0.1 * -2 + 0.25 * 4)
    cost.backward()
    assert c.grad.item() == pytest.approx(0.1 + 0.5 * -2)


def test_the_hinge_leaves_a_satisfied_constraint_alone():
    hinge = constraint()
    c = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    cost = hinge.cost(c, theta=0.1)
    cost.backward()
    assert cost == 0
    assert c.grad == 0
    violated = torch.tensor(3.0, dtype=torch.float64)
    assert hinge.cost(violated, 0.1) == constraint(penalty="literal").cost(violated, 0.1)


def test_the_multiplier_rises_with_the_violation_and_a_hinge_keeps_it_from_below_zero():
    assert constraint().raised(0.2, 3.0) == pytest.approx(1.7)
    assert constraint().raised(0.2, -3.0) == 0
    assert constraint(penalty="literal").raised(0.2, -3.0) == pytest.approx(-1.3)
