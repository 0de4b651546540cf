"""The multiple-gradient descent direction (MGDA, Desideri 2012; Sener and Koltun 2018).

Of all mixtures of several objectives' gradients the one of least norm descends every objective
at once; where it is zero, no direction does (the point is Pareto-stationary). Two objectives have
a closed form; more are solved by Frank-Wolfe steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS, TOLERANCE = 1000, 1e-15


def least_norm_weights(gradients: Tensor) -> Tensor:
    """Return the mixture (k,) whose weighted sum of gradients has the least norm.

    The weights are at least 0 and sum to 1, in float64 on the CPU. Where several mixtures are
    equally short (equal or zero gradients), one of them is returned.

    Args:
        gradients: one gradient a row (k, n), k at least 1.
    """
    rows = gradients.detach().double()
    if len(rows) == 2:
        first = _weight_of_first(rows[0], rows[1])
        return torch.stack([first, 1 - first]).cpu()
    return frank_wolfe((rows @ rows.T).cpu())


def _weight_of_first(u: Tensor, v: Tensor) -> Tensor:
    """Return the g in [0,1] that minimises |g u + (1 - g) v| (Sener and Koltun, Eq. 5)."""
    apart = v - u
    square = apart @ apart
    if square == 0:
        return torch.full_like(square, 0.5)  # every mixture is the same vector
    return (apart @ v / square).clamp(0, 1)


def frank_wolfe(products: Tensor) -> Tensor:
    """Return the least-norm mixture (k,), given all inner products of k gradients (k, k).

    Each step moves weight from the worst gradient in use to the best one, by an exact line
    search: pairwise Frank-Wolfe, which converges geometrically on a simplex (Lacoste-Julien and
    Jaggi 2015).
    """
    weights = torch.full_like(products[0], 1 / len(products))
    for _ in range(STEPS):
        slope = products @ weights
        best = int(slope.argmin())
        worst = int(slope.masked_fill(weights == 0, -torch.inf).argmax())
        gap = slope[worst] - slope[best]
        if gap <= TOLERANCE * products.diagonal().max():
            break
        curve = products[best, best] - 2 * products[best, worst] + products[worst, worst]
        moved = torch.minimum(gap / curve, weights[worst])
        weights[best] += moved
        weights[worst] -= moved
    return weights
