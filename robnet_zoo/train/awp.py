"""Adversarial weight perturbation (Wu et al. 2020): the loss is taken at worse weights nearby."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

TINY = 1e-12


@contextmanager
def perturbed(model: nn.Module, size: float) -> Iterator[None]:
    """Move each weight matrix up its present `.grad` by `size` of its own norm, then back.

    The block computes the gradient at the perturbed weights; the weights themselves come back to
    the bit (Wu et al. 2020, Eqs. 8-10, one step). Biases and batch norm stay as they are.
    """
    weights = [p for p in model.parameters() if p.dim() > 1 and p.grad is not None]
    kept = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            assert weight.grad is not None
            weight.add_(weight.grad * (size * weight.norm() / (weight.grad.norm() + TINY)))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)
