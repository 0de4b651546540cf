"""What torch's arithmetic is to a graph: rules of sums, factors, means, shapes and parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.certify.traced import Traced, affine, rearranged, refused, value
from robnet_zoo.runtime.errors import ZooError


def reshape(name: str, input: Traced, *shape: Any, **kwargs: Any) -> Traced:
    """A view or a reshape that leaves the first dimension."""
    shaped = getattr(value(input), name)(*shape, **kwargs)
    if shaped.shape[:1] != input.shape[:1] or shaped.dtype != input.dtype:
        raise refused(name, "that moves images from the first dimension or changes their type")
    rest = shaped.shape[1:]
    return rearranged(lambda x: x.reshape(len(x), *rest))(name, input)


def mean(
    name: str, input: Traced, dim: int | tuple[int, ...] | None = None, keepdim: bool = False
) -> Traced:
    """A mean over dimensions behind the first."""
    dims = (dim,) if isinstance(dim, int) else dim or (0,)
    if any(each % input.ndim == 0 for each in dims):
        raise refused(name, "over the images of a batch")
    return rearranged(lambda x: x.mean(dims, keepdim))(name, input)


def pad(
    name: str, input: Traced, pad: Any, mode: str = "constant", value: float | None = None
) -> Traced:
    """A pad, with a finite constant or with what is at the edge."""
    if value is not None and not math.isfinite(value):
        raise refused(name, "with a value that is not finite")

    def apply(x: Tensor, value: float = value or 0.0) -> Tensor:
        return F.pad(x, pad, mode, value if mode == "constant" else None)

    def linear(x: Tensor) -> Tensor:
        return apply(x, 0.0)

    return affine(name, (input,), apply, linear, linear)


def parts(func: Callable[..., Any]) -> Callable[..., tuple[Traced, ...]]:
    """Return the rule of what cuts a value into several."""

    def rule(name: str, input: Traced, *args: Any, **kwargs: Any) -> tuple[Traced, ...]:
        count = len(func(value(input), *args, **kwargs))
        return tuple(
            rearranged(lambda x, part: func(x, *args, **kwargs)[part])(name, input, part)
            for part in range(count)
        )

    return rule


def cat(name: str, tensors: Any, dim: int = 0) -> Traced:
    """A concatenation of values that all depend on the images."""
    if not all(isinstance(tensor, Traced) for tensor in tensors):
        raise refused(name, "with something that is not from the images")

    def apply(*parts: Tensor) -> Tensor:
        return torch.cat(parts, dim)

    return affine(name, tuple(tensors), apply, apply, apply)


def add(name: str, input: Any, other: Any, *, alpha: float = 1) -> Traced:
    """A sum, of two values or with a constant."""
    if isinstance(input, Traced) and isinstance(other, Traced):

        def apply(x: Tensor, y: Tensor) -> Tensor:
            return torch.add(x, y, alpha=alpha)

        return affine(
            name,
            (input, other),
            apply,
            apply,
            lambda r, s: torch.add(r, s, alpha=abs(alpha)),
        )
    if isinstance(input, Traced):
        constant = _constant(name, input, other) * alpha
        return _shifted(name, input, constant)
    constant = _constant(name, other, input)
    return _shifted(name, other if alpha == 1 else mul(name, other, alpha), constant)


def _shifted(name: str, x: Traced, constant: Any) -> Traced:
    def linear(x: Tensor) -> Tensor:
        return x + 0 * constant  # in the shape of the sum

    return affine(name, (x,), lambda x: x + constant, linear, linear)


def sub(name: str, input: Any, other: Any, *, alpha: float = 1) -> Traced:
    """A difference, of two values or with a constant."""
    return add(name, input, other, alpha=-alpha)


def rsub(name: str, input: Any, other: Any, alpha: float = 1) -> Traced:
    """A difference whose arguments are exchanged."""
    return add(name, other, input, alpha=-alpha)


def mul(name: str, input: Any, other: Any) -> Traced:
    """A product with a constant."""
    if isinstance(input, Traced) and isinstance(other, Traced):
        raise ZooError("No bounds are known for the product of two values from the images.")
    x, factor = (input, other) if isinstance(input, Traced) else (other, input)
    factor = _constant(name, x, factor)

    def apply(x: Tensor) -> Tensor:
        return x * factor

    return affine(name, (x,), apply, apply, lambda r: r * abs(factor))


def neg(name: str, input: Traced) -> Traced:
    """A change of sign."""
    return mul(name, input, -1)


def div(name: str, input: Traced, other: Any) -> Traced:
    """A quotient by a constant."""
    divisor = _constant(name, input, other)

    def apply(x: Tensor) -> Tensor:
        return x / divisor

    return affine(name, (input,), apply, apply, lambda r: r / abs(divisor))


def quotient(name: str, input: Any, *args: Any) -> Traced:
    """A quotient by a value, which has no bounds."""
    raise ZooError("No bounds are known for a division by a value from the images.")


def _constant(name: str, x: Tensor, constant: Any) -> Any:
    """Return what a value meets, if it is finite and the same for every image."""
    if not isinstance(constant, Tensor):
        constant = torch.tensor(constant, dtype=x.dtype, device=x.device)
    if constant.ndim > x.ndim or (constant.ndim == x.ndim and len(constant) != 1):
        raise refused(name, "with a constant that differs from image to image")
    if not constant.detach().isfinite().all():
        raise refused(name, "with a constant that is not finite")
    return constant
