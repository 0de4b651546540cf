"""How much logits can change to first order: norms of the rows of the Jacobian.

A perturbation d with ||d||_p <= epsilon changes logit k by J_k d to first order, and Hoelder's
inequality bounds |J_k d| by epsilon ||J_k||_q with 1/p + 1/q = 1: q = 1 for Linf, 2 for L2. For a
linear model this is exact. All functions are differentiable in whatever the model is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robnet_zoo.certify.graph import Model
from robnet_zoo.threat_models import Norm

DUAL = {"Linf": 1, "L2": 2}  # q of the ball's p


@torch.enable_grad()
def row_norms(model: Model, images: Tensor, norm: Norm = "Linf") -> Tensor:
    """Return the dual norms (N, classes) of all rows of each image's Jacobian, exactly.

    One backward pass a class.

    Args:
        model: from images (N, C, H, W) to logits (N, classes); images must not influence one
            another, hence eval mode.
        images: where to differentiate.
        norm: of the perturbation.
    """
    logits, leaf = _logits(model, images)
    return torch.stack([_norm(row, leaf, norm) for row in logits.unbind(1)], 1)


@torch.enable_grad()
def projected_norms(
    model: Model, images: Tensor, generator: torch.Generator, projections: int = 1
) -> Tensor:
    """Estimate the root mean square (N,) of the L2 norms of the Jacobian's rows.

    The mean over unit vectors v of ||v J||^2 is ||J||_F^2 / classes (Hoffman et al. 2019): each
    projection costs one backward pass, whatever the number of classes. The square of what is
    returned is unbiased.

    Args:
        model: as for `row_norms`.
        images: where to differentiate.
        generator: draws the vectors, on the CPU.
        projections: vectors an image.
    """
    logits, leaf = _logits(model, images)
    squares = []
    for _ in range(projections):
        drawn = torch.randn(logits.shape, generator=generator).to(logits)
        unit = drawn / drawn.norm(dim=1, keepdim=True)
        squares.append(_norm((unit * logits).sum(1), leaf, "L2") ** 2)
    return (torch.stack(squares).mean(0) + 1e-20).sqrt()


@torch.enable_grad()
def top_norms(model: Model, images: Tensor, count: int = 1, norm: Norm = "Linf") -> Tensor:
    """Return the dual norms (N, count) of the rows of each image's largest logits."""
    logits, leaf = _logits(model, images)
    chosen = logits.topk(count, dim=1).values
    return torch.stack([_norm(row, leaf, norm) for row in chosen.unbind(1)], 1)


@torch.enable_grad()
def margin_gradients(
    model: Model, images: Tensor, labels: Tensor, norm: Norm = "Linf"
) -> tuple[Tensor, Tensor]:
    """Return the label's lead over each other class (classes - 1, N) and its gradient's dual norm.

    Their quotient is the distance at which the linearised model would choose the other class.
    """
    logits, leaf = _logits(model, images)
    classes = logits.shape[1]
    own = logits.gather(1, labels[:, None])
    others = (labels[:, None] + torch.arange(1, classes, device=labels.device)) % classes
    leads = (own - logits.gather(1, others)).T
    slopes = [_norm(lead, leaf, norm) for lead in leads]
    return leads.detach(), torch.stack(slopes).detach()


def _logits(model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
    leaf = images.detach().requires_grad_()
    return model(leaf), leaf


def _norm(values: Tensor, leaf: Tensor, norm: Norm) -> Tensor:
    """Return the dual norm (N,) of the gradient of each image's value (N,)."""
    (gradient,) = torch.autograd.grad(values.sum(), leaf, create_graph=True)
    return torch.linalg.vector_norm(gradient.flatten(1), DUAL[norm], dim=1)
