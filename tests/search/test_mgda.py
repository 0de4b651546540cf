"""The least-norm mixture of gradients, on pairs made by hand and against other solvers."""

import itertools

import pytest
import torch

from robnet_zoo.search.core.mgda import frank_wolfe, least_norm_weights

PAIRS = {  # name: two gradients, the first one's weight (None: any will do)
    "parallel": ([1.0, 1.0], [3.0, 3.0], 1.0),
    "opposed": ([1.0, 0.0], [-3.0, 0.0], 0.75),
    "orthogonal": ([1.0, 0.0], [0.0, 1.0], 0.5),
    "orthogonal, unequal": ([2.0, 0.0], [0.0, 1.0], 0.2),
    "dominating": ([100.0, 1.0], [1.0, 0.0], 0.0),
    "identical": ([1.0, 2.0], [1.0, 2.0], None),
    "one is zero": ([0.0, 0.0], [1.0, 2.0], 1.0),
    "both are zero": ([0.0, 0.0], [0.0, 0.0], None),
}


@pytest.mark.parametrize(("u", "v", "first"), PAIRS.values(), ids=PAIRS)
def test_two_gradients_are_mixed_as_the_closed_form_says(u, v, first):
    weights = least_norm_weights(torch.tensor([u, v]))
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    if first is not None:
        assert weights.tolist() == pytest.approx([first, 1 - first], abs=1e-12)


@pytest.mark.parametrize(("u", "v", "first"), PAIRS.values(), ids=PAIRS)
def test_frank_wolfe_agrees_with_the_closed_form(u, v, first):
    rows = torch.tensor([u, v], dtype=torch.float64)
    closed, iterated = least_norm_weights(rows), frank_wolfe(rows @ rows.T)
    torch.testing.assert_close(iterated @ rows, closed @ rows, atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_three_gradients_are_mixed_as_by_trying_all_mixtures(seed):
    drawn = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = drawn + torch.ones(5) * (seed % 3)  # from conflicting to agreeing
    found = (least_norm_weights(rows) @ rows).norm()
    ticks = torch.linspace(0, 1, 201, dtype=torch.float64).tolist()
    grid = [(a, b, 1 - a - b) for a, b in itertools.product(ticks, ticks) if a + b <= 1]
    best = (torch.tensor(grid, dtype=torch.float64) @ rows).norm(dim=1).min()
    assert found <= best
    assert found == pytest.approx(float(best), rel=0.01, abs=0.02)


def test_many_gradients_are_mixed_as_by_a_quadratic_program():
    optimize = pytest.importorskip("scipy.optimize")
    rows = torch.randn(6, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.2
    products = (rows @ rows.T).numpy()
    solved = optimize.minimize(
        lambda w: w @ products @ w,
        [1 / 6] * 6,
        jac=lambda w: 2 * products @ w,
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    weights = least_norm_weights(rows).numpy()
    assert weights @ products @ weights <= solved.fun * (1 + 1e-9)
    assert weights == pytest.approx(solved.x, abs=1e-4)


@pytest.mark.parametrize("scale", [1, 1000])
def test_no_objective_gets_worse_along_the_mixture(scale):
    rows = torch.randn(4, 30, generator=torch.Generator().manual_seed(1))
    rows[0] *= scale  # sizes of real objectives differ
    mixture = least_norm_weights(rows).float() @ rows
    assert (rows @ mixture >= mixture.square().sum() * (1 - 1e-5)).all()


def test_one_objective_has_all_the_weight():
    assert least_norm_weights(torch.tensor([[3.0, 4.0]])).tolist() == [1]
