"""The operations that a graph may be made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from robnet_zoo.certify import arithmetic, layers
from robnet_zoo.certify.traced import Rule, rearranged

SINGLE: dict[str, Callable[..., Any]] = {
    "conv2d": layers.conv2d,
    "linear": layers.linear,
    "batch_norm": layers.batch_norm,
    "relu": layers.relu,
    "relu_": layers.relu,
    "max_pool2d": layers.max_pool2d,
    "avg_pool2d": layers.avg_pool2d,
    "dropout": layers.dropout,
    "split": arithmetic.parts(torch.Tensor.split),
    "chunk": arithmetic.parts(torch.Tensor.chunk),
    "neg": arithmetic.neg,
    "div": arithmetic.div,
    "div_": arithmetic.div,
    "true_divide": arithmetic.div,
    "reciprocal": arithmetic.quotient,
    "__rdiv__": arithmetic.quotient,
    "mean": arithmetic.mean,
    "pad": arithmetic.pad,
    "view": arithmetic.reshape,
    "reshape": arithmetic.reshape,
    "adaptive_avg_pool2d": rearranged(F.adaptive_avg_pool2d),
    "zeros_like": rearranged(lambda x: x * 0),
    "__getitem__": rearranged(lambda x, index: x[index]),
    **{
        name: rearranged(getattr(torch.Tensor, name))
        for name in ("flatten", "unflatten", "transpose", "permute", "contiguous", "clone")
    },
}
SEVERAL: dict[str, Callable[..., Any]] = {
    "cat": arithmetic.cat,
    "add": arithmetic.add,
    "add_": arithmetic.add,  # such as x += y
    "sub": arithmetic.sub,
    "sub_": arithmetic.sub,
    "rsub": arithmetic.rsub,
    "__rsub__": arithmetic.rsub,
    "mul": arithmetic.mul,
    "mul_": arithmetic.mul,
}
RULES = {
    **{name: Rule(rule) for name, rule in SINGLE.items()},
    **{name: Rule(rule, several=True) for name, rule in SEVERAL.items()},
}
