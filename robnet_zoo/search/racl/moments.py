"""Log-normal moments of the network's Lipschitz score (RACL, section 2.3, Eqs. 11 and 12).

A sum of independent log-normals X = sum_k exp(N(m_k, v_k)) is taken for a log-normal with the
same mean and variance (Fenton and Wilkinson):

    S2 = ln(1 + sum_k exp(2 m_k + v_k) (exp(v_k) - 1) / (sum_k exp(m_k + v_k / 2))^2)
    M  = ln(sum_k exp(m_k + v_k / 2)) - S2 / 2

Every term is kept as its logarithm. A product adds means and variances.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.search.core.spaces import NODES

TINY = 1e-300  # a variance of 0, that of a constant, as a number with a logarithm


class LogNormal(NamedTuple):
    """Log-normal variables exp(N(mean, variance)), tensors of one shape."""

    mean: Tensor
    variance: Tensor


def sum_of(terms: LogNormal) -> LogNormal:
    """Return the log-normal taken for the sums over the last dimension.

    A term whose mean is minus infinity is a constant 0 and drops out of values and gradients.

    Args:
        terms: independent log-normals, in float64.
    """
    mean, variance = terms.mean, terms.variance.clamp(min=TINY)
    total = torch.logsumexp(mean + variance / 2, dim=-1)
    spread = torch.logsumexp(2 * mean + variance + variance.expm1().log(), dim=-1)
    matched = F.softplus(spread - 2 * total, threshold=700)
    return LogNormal(total - matched / 2, matched)


def edge_moments(alpha: LogNormal, log_lambda: Tensor) -> LogNormal:
    """Return each edge's score, sum over o of alpha_o lambda_o (Eq. 11).

    Args:
        alpha: operation weights (..., edges, operations).
        log_lambda: logarithms of the operations' constants, of the same shape.
    """
    return sum_of(LogNormal(alpha.mean + log_lambda, alpha.variance.expand_as(log_lambda)))


def node_moments(beta: LogNormal, edges: LogNormal) -> LogNormal:
    """Return each node's score, sum over i < j of beta_ij lambda_ij (Eq. 12), as (..., nodes).

    Args:
        beta: edge weights (..., edges).
        edges: the edges' scores (..., edges).
    """
    sizes = [2 + node for node in range(NODES)]
    means = (beta.mean + edges.mean).split(sizes, dim=-1)
    variances = (beta.variance + edges.variance).split(sizes, dim=-1)
    nodes = [sum_of(LogNormal(m, v)) for m, v in zip(means, variances, strict=True)]
    return LogNormal(*(torch.stack(part, dim=-1) for part in zip(*nodes, strict=True)))


def network_moments(alpha: LogNormal, beta: LogNormal, log_lambda: Tensor) -> LogNormal:
    """Return the network's score lambda_F, the product over all nodes of all cells.

    The constants of classifier and loss (the paper's C) are left out: they shift the target.

    Args:
        alpha: each cell's operation weights (cells, edges, operations).
        beta: each cell's edge weights (cells, edges).
        log_lambda: logarithms of the constants (cells, edges, operations).
    """
    nodes = node_moments(beta, edge_moments(alpha, log_lambda))
    return LogNormal(nodes.mean.sum(), nodes.variance.sum())
