"""What torch's operations are to a graph: affine maps, ReLUs and max pools.

Images go through a model as `Traced` tensors, which write down what is done to them. An operation
that has no rule here is refused, and so is a use of one that its rule does not cover.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input
from torch.nn.modules.utils import _pair as pair

from robnet_zoo.certify.graph import Graph, Map, Node
from robnet_zoo.runtime.errors import ZooError


class Traced(Tensor):
    """A tensor that depends on the images, and its number in the graph."""

    number: int
    graph: Graph

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return _call(func, args, kwargs or {})


def record(graph: Graph, node: Node) -> Traced:
    """Add a value to a graph and return it as a tensor that goes on writing.

    Raises:
        ZooError: its first dimension no longer holds the images, or its precision changes.
    """
    if graph:
        images = graph[0].value
        if node.value.shape[:1] != images.shape[:1]:
            raise _refused(node.name, "that moves images from the first dimension")
        if node.value.dtype != images.dtype:
            raise _refused(node.name, f"that turns {images.dtype} into {node.value.dtype}")
    graph.append(node)
    traced = node.value.as_subclass(Traced)
    traced.graph, traced.number = graph, len(graph) - 1
    return traced


def _call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = func.__name__
    if name in QUESTIONS:
        answer = func(*args, **kwargs)
        if not isinstance(answer, Tensor):
            return answer
        name = getattr(func.__self__, "__name__", name)  # an attribute, such as T
    if name not in RULES:
        raise ZooError(
            f"No bounds are known for '{name}': a certified model is made of convolutions, linear "
            "layers, batch norms, ReLUs, pools, means, sums, pads and concatenations."
        )
    values = [*args, *kwargs.values()]
    if name not in SEVERAL and not (
        isinstance(values[0], Traced) and not any(isinstance(x, Traced) for x in values[1:])
    ):
        raise _refused(name, "whose other arguments depend on the images")
    if name in IN_PLACE and not isinstance(values[0], Traced):
        raise _refused(name, "that writes into what is not from the images")
    try:
        result = RULES[name](name, *args, **kwargs)
    except TypeError as error:
        raise _refused(name, "with these arguments") from error
    if kwargs.get("inplace") or name in IN_PLACE:
        values[0].number = result.number  # what it is from here on
    return result


def _refused(name: str, why: str) -> ZooError:
    return ZooError(f"No bounds are known for a '{name}' {why}.")


def _value(x: Traced) -> Tensor:
    return x.graph[x.number].value


def _affine(
    name: str, parents: tuple[Traced, ...], apply: Map, spread: Map, adjoint: Any = None
) -> Traced:
    value = apply(*map(_value, parents))
    numbers = tuple(parent.number for parent in parents)
    return record(parents[0].graph, Node(name, "affine", numbers, value, apply, spread, adjoint))


def _conv2d(
    name: str,
    input: Traced,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Traced:
    rest = stride, padding, dilation, groups
    return _affine(
        name,
        (input,),
        lambda x: F.conv2d(x, weight, bias, *rest),
        lambda r: F.conv2d(r, weight.abs(), None, *rest),
        None
        if isinstance(padding, str)
        else lambda given, shape: conv2d_input(shape, weight, given, *rest),
    )


def _linear(name: str, input: Traced, weight: Tensor, bias: Tensor | None = None) -> Traced:
    return _affine(
        name,
        (input,),
        lambda x: F.linear(x, weight, bias),
        lambda r: F.linear(r, weight.abs()),
    )


def _batch_norm(
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
    if training or running_mean is None or running_var is None:
        raise ZooError(
            "The model is in training mode, where images of a batch change one another's logits; "
            "call model.eval() first."
        )
    scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - running_mean * scale
    scale, shift = (part.view(1, -1, *[1] * (input.ndim - 2)) for part in (scale, shift))
    return _affine(name, (input,), lambda x: x * scale + shift, lambda r: r * scale.abs())


def _rearranged(func: Map) -> Callable[..., Traced]:
    """Return the rule of a linear map without negative coefficients."""

    def rule(name: str, input: Traced, *args: Any, **kwargs: Any) -> Traced:
        def apply(x: Tensor) -> Tensor:
            return func(x, *args, **kwargs)

        return _affine(name, (input,), apply, apply)

    return rule


def _reshape(name: str, input: Traced, *shape: Any, **kwargs: Any) -> Traced:
    value = getattr(_value(input), name)(*shape, **kwargs)
    if value.shape[:1] != input.shape[:1] or value.dtype != input.dtype:
        raise _refused(name, "that moves images from the first dimension or changes their type")
    rest = value.shape[1:]
    return _rearranged(lambda x: x.reshape(len(x), *rest))(name, input)


def _mean(
    name: str, input: Traced, dim: int | tuple[int, ...] | None = None, keepdim: bool = False
) -> Traced:
    dims = (dim,) if isinstance(dim, int) else dim or (0,)
    if any(each % input.ndim == 0 for each in dims):
        raise _refused(name, "over the images of a batch")
    return _rearranged(lambda x: x.mean(dims, keepdim))(name, input)


def _pad(
    name: str, input: Traced, pad: Any, mode: str = "constant", value: float | None = None
) -> Traced:
    if value is not None and not math.isfinite(value):
        raise _refused(name, "with a value that is not finite")

    def apply(x: Tensor, value: float = value or 0.0) -> Tensor:
        return F.pad(x, pad, mode, value if mode == "constant" else None)

    return _affine(name, (input,), apply, lambda r: apply(r, 0.0))


def _avg_pool2d(
    name: str,
    input: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Traced:
    if divisor_override is not None and divisor_override < 0:
        raise _refused(name, "by a negative divisor")
    rest = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    return _rearranged(F.avg_pool2d)(name, input, *rest)


def _parts(func: Callable[..., Any]) -> Callable[..., tuple[Traced, ...]]:
    """Return the rule of what cuts a value into several."""

    def rule(name: str, input: Traced, *args: Any, **kwargs: Any) -> tuple[Traced, ...]:
        count = len(func(_value(input), *args, **kwargs))
        return tuple(
            _rearranged(lambda x, part: func(x, *args, **kwargs)[part])(name, input, part)
            for part in range(count)
        )

    return rule


def _cat(name: str, tensors: Any, dim: int = 0) -> Traced:
    if not all(isinstance(tensor, Traced) for tensor in tensors):
        raise _refused(name, "with something that is not from the images")

    def apply(*parts: Tensor) -> Tensor:
        return torch.cat(parts, dim)

    return _affine(name, tuple(tensors), apply, apply)


def _add(name: str, input: Any, other: Any, *, alpha: float = 1) -> Traced:
    if isinstance(input, Traced) and isinstance(other, Traced):
        return _affine(
            name,
            (input, other),
            lambda x, y: torch.add(x, y, alpha=alpha),
            lambda r, s: torch.add(r, s, alpha=abs(alpha)),
        )
    if isinstance(input, Traced):
        constant = _constant(name, input, other) * alpha
        return _shifted(name, input, constant)
    constant = _constant(name, other, input)
    return _shifted(name, other if alpha == 1 else _mul(name, other, alpha), constant)


def _shifted(name: str, x: Traced, constant: Any) -> Traced:
    return _affine(name, (x,), lambda x: x + constant, lambda r: r + 0 * constant)


def _sub(name: str, input: Any, other: Any, *, alpha: float = 1) -> Traced:
    return _add(name, input, other, alpha=-alpha)


def _rsub(name: str, input: Any, other: Any, alpha: float = 1) -> Traced:
    return _add(name, other, input, alpha=-alpha)


def _mul(name: str, input: Any, other: Any) -> Traced:
    if isinstance(input, Traced) and isinstance(other, Traced):
        raise ZooError("No bounds are known for the product of two values from the images.")
    x, factor = (input, other) if isinstance(input, Traced) else (other, input)
    factor = _constant(name, x, factor)
    return _affine(name, (x,), lambda x: x * factor, lambda r: r * abs(factor))


def _div(name: str, input: Traced, other: Any) -> Traced:
    divisor = _constant(name, input, other)
    return _affine(name, (input,), lambda x: x / divisor, lambda r: r / abs(divisor))


def _quotient(name: str, input: Any, *args: Any) -> Traced:
    raise ZooError("No bounds are known for a division by a value from the images.")


def _constant(name: str, x: Tensor, constant: Any) -> Any:
    """Return what a value meets, if it is finite and the same for every image."""
    if not isinstance(constant, Tensor):
        constant = torch.tensor(constant, dtype=x.dtype, device=x.device)
    if constant.ndim > x.ndim or (constant.ndim == x.ndim and len(constant) != 1):
        raise _refused(name, "with a constant that differs from image to image")
    if not constant.detach().isfinite().all():
        raise _refused(name, "with a constant that is not finite")
    return constant


def _relu(name: str, input: Any, inplace: bool = False) -> Traced:
    value = F.relu(_value(input))
    return record(input.graph, Node(name, "relu", (input.number,), value, F.relu, _nothing))


def _max_pool2d(
    name: str,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Traced:
    if pair(dilation) != (1, 1) or ceil_mode or return_indices:
        raise _refused(name, "with dilation, ceil_mode or indices")
    window: tuple[Any, ...] = pair(kernel_size), pair(stride or kernel_size), pair(padding)

    def apply(x: Tensor) -> Tensor:
        return F.max_pool2d(x, *window)

    value = apply(_value(input))
    node = Node(name, "max_pool", (input.number,), value, apply, _nothing, window=window)
    return record(input.graph, node)


def _dropout(
    name: str, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Traced:
    if training:
        raise ZooError("The model drops values at random; call model.eval() first.")
    return input


def _nothing(*args: Any) -> Tensor:
    raise NotImplementedError


QUESTIONS = (
    "__get__",
    "__len__",
    "dim",
    "size",
    "numel",
    "is_floating_point",
)  # about the shape, mostly
# Rules take the name of the operation, then its arguments under torch's own names.
RULES: dict[str, Callable[..., Any]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "max_pool2d": _max_pool2d,
    "dropout": _dropout,
    "cat": _cat,
    "split": _parts(torch.Tensor.split),
    "chunk": _parts(torch.Tensor.chunk),
    "add": _add,
    "sub": _sub,
    "__rsub__": _rsub,
    "rsub": _rsub,
    "neg": lambda name, input: _mul(name, input, -1),
    "mul": _mul,
    "div": _div,
    "true_divide": _div,
    "__rdiv__": _quotient,
    "reciprocal": _quotient,
    "mean": _mean,
    "pad": _pad,
    "view": _reshape,
    "reshape": _reshape,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _rearranged(F.adaptive_avg_pool2d),
    "zeros_like": _rearranged(lambda x: x * 0),
    "__getitem__": _rearranged(lambda x, index: x[index]),
    **{
        name: _rearranged(getattr(torch.Tensor, name))
        for name in ("flatten", "unflatten", "transpose", "permute", "contiguous", "clone")
    },
}
# Such as x += y.
IN_PLACE: dict[str, Callable[..., Any]] = {
    "add_": _add,
    "sub_": _sub,
    "mul_": _mul,
    "div_": _div,
    "relu_": _relu,
}
RULES |= IN_PLACE
SEVERAL = ("add", "add_", "sub", "sub_", "__rsub__", "rsub", "mul", "mul_", "cat")
