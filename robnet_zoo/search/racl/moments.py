"""Log-normal moments of the network's Lipschitz score (RACL, section 2.3, Eqs. 11 and 12).

A sum of independent log-normals X = sum_k exp(N(m_k, v_k)) is taken for a log-normal with the
same mean and variance (Fenton and Wilkinson). With the parts p_k of its mean that the terms are,

    S2 = ln(1 + sum_k p_k^2 (exp(v_k) - 1)),  p_k = exp(m_k + v_k / 2) / sum_l exp(m_l + v_l / 2)
    M  = ln(sum_k exp(m_k + v_k / 2)) - S2 / 2

Cells of a type have one alpha and one beta, so their scores rise and fall together. The same
matching gives the covariance of the logarithms of two sums a and b over the same noise,

    ln(1 + sum_k p_ak p_bk (exp(c_k) - 1)),  c_k the covariance of the logarithms of the terms k,

of which S2 is the case a = b. A product adds means and covariances.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robnet_zoo.search.core.spaces import NODES


class LogNormal(NamedTuple):
    """Log-normal variables exp(N(mean, variance)), tensors of one shape."""

    mean: Tensor
    variance: Tensor


class Joint(NamedTuple):
    """Log-normals that vary together: means (..., n) and covariances (..., n, n) of their logs."""

    mean: Tensor
    covariance: Tensor


def sums_of(mean: Tensor, covariance: Tensor) -> Joint:
    """Return n sums of k terms, where terms k of all sums vary together, and no others.

    A term whose mean is minus infinity is a constant 0 and drops out of values and gradients.

    Args:
        mean: of the terms' logarithms (..., n, k), in float64.
        covariance: of the logarithms of the terms k of two sums (..., n, n, k).
    """
    variance = covariance.diagonal(dim1=-3, dim2=-2).transpose(-1, -2)
    logs = mean + variance / 2
    part = logs.softmax(-1)
    both = part[..., :, None, :] * part[..., None, :, :]
    matched = (both * covariance.expm1()).sum(-1).log1p()
    return Joint(logs.logsumexp(-1) - matched.diagonal(dim1=-2, dim2=-1) / 2, matched)


def quotients_of(sums: Joint) -> Joint:
    """Return what all but the last of n + 1 log-normals are in parts of the last one."""
    mean, covariance = sums
    across, along = covariance[..., :-1, -1:], covariance[..., -1:, :-1]
    return Joint(
        mean[..., :-1] - mean[..., -1:],
        covariance[..., :-1, :-1] - across - along + covariance[..., -1:, -1:],
    )


def edge_moments(alpha: LogNormal, log_lambda: Tensor, *, normalise: bool = False) -> Joint:
    """Return the edges' scores, sum over o of alpha_o lambda_o (Eq. 11), in cells of one type.

    Args:
        alpha: operation weights (edges, operations), in float64.
        log_lambda: logarithms of the operations' constants (cells, edges, operations).
        normalise: divide by the sum of the alphas, but for operations whose constant is 0.

    Returns:
        Scores (edges, cells).
    """
    constants = log_lambda.transpose(0, 1)
    if normalise:
        ones = torch.zeros_like(constants[:, :1]).masked_fill(
            constants[:, :1].isneginf(), -torch.inf
        )
        constants = torch.cat([constants, ones], dim=1)
    n = constants.shape[1]
    sums = sums_of(
        alpha.mean[:, None] + constants, alpha.variance[:, None, None].expand(-1, n, n, -1)
    )
    return quotients_of(sums) if normalise else sums


def node_moments(beta: LogNormal, edges: Joint, *, normalise: bool = False) -> Joint:
    """Return the nodes' scores, sum over i < j of beta_ij lambda_ij (Eq. 12).

    Args:
        beta: edge weights (edges,).
        edges: the edges' scores (edges, cells).
        normalise: divide by the sum of the betas.

    Returns:
        Scores (nodes, cells); different nodes are independent.
    """
    means, covariances = edges
    if normalise:  # the betas themselves, as a last cell of constants 1
        means = torch.nn.functional.pad(means, (0, 1))
        covariances = torch.nn.functional.pad(covariances, (0, 1, 0, 1))
    sizes = [2 + node for node in range(NODES)]
    terms = zip(
        (beta.mean[:, None] + means).split(sizes),
        (beta.variance[:, None, None] + covariances).split(sizes),
        strict=True,
    )
    sums = [sums_of(mean.movedim(0, -1), both.movedim(0, -1)) for mean, both in terms]
    nodes = Joint(*(torch.stack(part) for part in zip(*sums, strict=True)))
    return quotients_of(nodes) if normalise else nodes


def cells_moments(
    alpha: LogNormal, beta: LogNormal, log_lambda: Tensor, *, normalise: bool = False
) -> LogNormal:
    """Return the score of cells of one type, the product over all nodes of all cells.

    The constants of classifier and loss (the paper's C) are left out: they shift the target.

    Args:
        alpha: operation weights (edges, operations) of the type, in float64.
        beta: its edge weights (edges,).
        log_lambda: logarithms of the constants (cells, edges, operations).
        normalise: let the weights of an edge's operations, and of a node's edges, sum to 1, so
            that a common factor of theirs does not change the score.
    """
    edges = edge_moments(alpha, log_lambda, normalise=normalise)
    nodes = node_moments(beta, edges, normalise=normalise)
    return LogNormal(nodes.mean.sum(), nodes.covariance.sum())
