"""Adversarial weight perturbation (Wu et al. 2020): the loss is taken at worse weights nearby."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

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


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Keep batch norm's running statistics as they are, in train mode, during the block."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, kept, strict=True):
            layer.momentum = momentum
