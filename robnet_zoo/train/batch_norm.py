"""Batch norm in training: statistics over all processes, frozen, or taken from one batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def statistics_momentum(model: nn.Module, momentum: float) -> Iterator[None]:
    """Set how far a pass in train mode moves the running statistics: 0 not at all, 1 to its own."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = momentum
    try:
        yield
    finally:
        for layer, own in zip(layers, kept, strict=True):
            layer.momentum = own


class _Sum(torch.autograd.Function):
    """The sum of a tensor over processes, and of its gradient on the way back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class JointBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the joined batch of all processes, on any device.

    torch's SyncBatchNorm does the same on CUDA only.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised maps (N, C, H, W) of this process's images."""
        if not self.training:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = wide.new_tensor([x.numel() / x.shape[1]])
        sums = _Sum.apply(torch.cat([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), count]))
        total = sums[-1].detach()
        mean, square = (sums[:-1] / total).chunk(2)
        variance = square - mean.square()
        if self.running_mean is not None and self.running_var is not None:
            momentum = self.momentum or 0.0
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * (total / (total - 1)), momentum)
        scale = (variance + self.eps).rsqrt()
        normal = (wide - mean[:, None, None]) * scale[:, None, None]
        if self.affine:
            normal = normal * self.weight[:, None, None] + self.bias[:, None, None]
        return normal.to(x.dtype)


def join_batch_norm(model: nn.Module) -> None:
    """Make every batch norm of the model take its statistics over all processes."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = JointBatchNorm2d
