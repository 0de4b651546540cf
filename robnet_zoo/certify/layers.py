"""What torch's layers are to a graph: rules of convolutions, batch norms, ReLUs and pools."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input
from torch.nn.modules.utils import _pair as pair

from robnet_zoo.certify.graph import Node
from robnet_zoo.certify.traced import Traced, affine, nothing, rearranged, refused, value
from robnet_zoo.runtime.errors import ZooError


def conv2d(
    name: str,
    input: Traced,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Traced:
    """A convolution by constant weights."""
    rest = stride, padding, dilation, groups
    return affine(
        name,
        (input,),
        lambda x: F.conv2d(x, weight, bias, *rest),
        lambda x: F.conv2d(x, weight, None, *rest),
        lambda r: F.conv2d(r, weight.abs(), None, *rest),
        None
        if isinstance(padding, str)
        else lambda given, shape: conv2d_input(shape, weight, given, *rest),
    )


def linear(name: str, input: Traced, weight: Tensor, bias: Tensor | None = None) -> Traced:
    """A linear layer of constant weights."""
    return affine(
        name,
        (input,),
        lambda x: F.linear(x, weight, bias),
        lambda x: F.linear(x, weight),
        lambda r: F.linear(r, weight.abs()),
    )


def batch_norm(
    name: str,
    input: Traced,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Traced:
    """A batch norm by its running statistics."""
    if training or running_mean is None or running_var is None:
        raise ZooError(
            "The model is in training mode, where images of a batch change one another's logits; "
            "call model.eval() first."
        )
    scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - running_mean * scale
    scale, shift = (part.view(1, -1, *[1] * (input.ndim - 2)) for part in (scale, shift))
    return affine(
        name,
        (input,),
        lambda x: x * scale + shift,
        lambda x: x * scale,
        lambda r: r * scale.abs(),
    )


def avg_pool2d(
    name: str,
    input: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Traced:
    """An average pool."""
    if divisor_override is not None and divisor_override < 0:
        raise refused(name, "by a negative divisor")
    rest = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    return rearranged(F.avg_pool2d)(name, input, *rest)


def relu(name: str, input: Any, inplace: bool = False) -> Traced:
    """A ReLU."""
    node = Node(name, "relu", (input.number,), F.relu(value(input)), F.relu, nothing, nothing)
    return input.recorder.record(node)


def max_pool2d(
    name: str,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Traced:
    """A max pool."""
    if pair(dilation) != (1, 1) or ceil_mode or return_indices:
        raise refused(name, "with dilation, ceil_mode or indices")
    window: tuple[Any, ...] = pair(kernel_size), pair(stride or kernel_size), pair(padding)

    def apply(x: Tensor) -> Tensor:
        return F.max_pool2d(x, *window)

    found = apply(value(input))
    node = Node(name, "max_pool", (input.number,), found, apply, nothing, nothing, window=window)
    return input.recorder.record(node)


def dropout(
    name: str, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Traced:
    """A dropout of a model in eval mode, which does nothing."""
    if training:
        raise ZooError("The model drops values at random; call model.eval() first.")
    return input
