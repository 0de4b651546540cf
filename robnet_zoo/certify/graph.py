"""A model as a graph of affine maps, ReLUs and max pools, found by running the model itself.

`trace` passes images through the model as tensors that write down what is done to them, so that
the graph is the model's own wiring, whatever the class of the model: networks of the zoo, or a
supernet with its architecture weights. What is neither affine in the images nor a ReLU or a max
pool is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input

from robnet_zoo.runtime.errors import ZooError

Map = Callable[..., Tensor]
Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Node:
    """A value inside the model.

    Attributes:
        kind: "input" (the images), "affine", "relu" or "max_pool".
        parents: positions of the values it is computed from.
        value: it, at the images themselves (N, ...).
        apply: computes it from the parents, for any number of images.
        spread: of affine nodes, what `apply` does to radii: all coefficients made positive and
            constants left out.
        adjoint: of affine nodes of one parent, (coefficients, shape of the parent) -> its
            coefficients; None to have autograd find it.
        window: of max pools, kernel size, stride and padding.
    """

    kind: Literal["input", "affine", "relu", "max_pool"]
    parents: tuple[int, ...]
    value: Tensor
    apply: Map
    spread: Map
    adjoint: Callable[[Tensor, list[int]], Tensor] | None = None
    window: tuple[Any, ...] = ()

    @property
    def relaxed(self) -> bool:
        """Whether bounds must replace it by something affine."""
        return self.kind in ("relu", "max_pool")


Graph = list[Node]  # in order of computation: the images first, the logits last


def trace(model: Model, images: Tensor) -> Graph:
    """Return the graph of a model at images (N, C, H, W) in [0,1].

    The graph is differentiable in whatever the model's forward pass is, such as weights and
    architecture weights.

    Raises:
        ZooError: the model is in training mode, or does what bounds are not known for.
    """
    graph: Graph = []
    recorded = _record(graph, Node("input", (), images.detach(), _nothing, _nothing))
    logits = model(recorded)
    if not isinstance(logits, _Traced) or logits.ndim != 2:
        raise ZooError("The model returns no logits (N, classes) that depend on its input.")
    found = graph[: logits.number + 1]
    with torch.no_grad():  # the graph knows nothing of views whose origin is changed in place
        expected = model(images)
        if not torch.allclose(found[-1].value, expected, 1e-4, 1e-5, equal_nan=True):
            raise ZooError("The model changes values in place; bounds need a model that does not.")
    return found


class _Traced(Tensor):
    """A tensor that depends on the images, and its number in the graph."""

    number: int
    graph: Graph

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return _call(func, args, kwargs or {})


def _record(graph: Graph, node: Node) -> _Traced:
    graph.append(node)
    traced = node.value.as_subclass(_Traced)
    traced.graph, traced.number = graph, len(graph) - 1
    return traced


def _call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = func.__name__
    if name in QUESTIONS:
        answer = func(*args, **kwargs)
        if not isinstance(answer, Tensor):
            return answer
    if name not in RULES:
        raise ZooError(
            f"No bounds are known for '{name}': a certified model is made of convolutions, linear "
            "layers, batch norms, ReLUs, pools, sums and concatenations."
        )
    result = RULES[name](*args, **kwargs)
    if kwargs.get("inplace") or name in IN_PLACE:
        args[0].number = result.number  # what it is from here on
    return result


def _value(x: _Traced) -> Tensor:
    return x.graph[x.number].value


def _affine(parents: tuple[Tensor, ...], apply: Map, spread: Map, adjoint: Any = None) -> _Traced:
    traced = [parent for parent in parents if isinstance(parent, _Traced)]
    value = apply(*map(_value, traced))
    numbers = tuple(parent.number for parent in traced)
    return _record(traced[0].graph, Node("affine", numbers, value, apply, spread, adjoint))


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any) -> _Traced:
    return _affine(
        (x,),
        lambda x: F.conv2d(x, weight, bias, *rest),
        lambda r: F.conv2d(r, weight.abs(), None, *rest),
        lambda given, shape: conv2d_input(shape, weight, given, *rest),
    )


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> _Traced:
    return _affine((x,), lambda x: F.linear(x, weight, bias), lambda r: F.linear(r, weight.abs()))


def _batch_norm(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> _Traced:
    if training or mean is None or variance is None:
        raise ZooError(
            "The model is in training mode, where images of a batch change one another's logits; "
            "call model.eval() first."
        )
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    scale, shift = (part.view(1, -1, *[1] * (x.ndim - 2)) for part in (scale, shift))
    return _affine((x,), lambda x: x * scale + shift, lambda r: r * scale.abs())


def _rearranged(func: Map) -> Callable[..., _Traced]:
    """Return the rule of a linear map without negative coefficients."""

    def rule(x: Tensor, *args: Any, **kwargs: Any) -> _Traced:
        def apply(x: Tensor) -> Tensor:
            return func(x, *args, **kwargs)

        return _affine((x,), apply, apply)

    return rule


def _split(x: Tensor, size: int | list[int], dim: int = 0) -> tuple[_Traced, ...]:
    parts = range(len(_value(cast(_Traced, x)).split(size, dim)))
    return tuple(_rearranged(lambda x, part: x.split(size, dim)[part])(x, part) for part in parts)


def _cat(tensors: list[Tensor], dim: int = 0) -> _Traced:
    if not all(isinstance(tensor, _Traced) for tensor in tensors):
        raise ZooError("No bounds are known for 'cat' with something that is not from the images.")

    def apply(*parts: Tensor) -> Tensor:
        return torch.cat(parts, dim)

    return _affine(tuple(tensors), apply, apply)


def _add(x: Any, y: Any) -> _Traced:
    if isinstance(x, _Traced) and isinstance(y, _Traced):
        return _affine((x, y), torch.add, torch.add)
    x, constant = (x, y) if isinstance(x, _Traced) else (y, x)
    return _affine((x,), lambda x: x + constant, lambda r: r)


def _sub(x: Any, y: Any) -> _Traced:
    if isinstance(x, _Traced) and isinstance(y, _Traced):
        return _affine((x, y), torch.sub, torch.add)
    return _add(x, -y) if isinstance(x, _Traced) else _add(_mul(y, -1), x)


def _mul(x: Any, y: Any) -> _Traced:
    if isinstance(x, _Traced) and isinstance(y, _Traced):
        raise ZooError("No bounds are known for the product of two values from the images.")
    x, factor = (x, y) if isinstance(x, _Traced) else (y, x)
    return _affine((x,), lambda x: x * factor, lambda r: r * abs(factor))


def _relu(x: Any, inplace: bool = False) -> _Traced:
    return _record(x.graph, Node("relu", (x.number,), F.relu(_value(x)), F.relu, _nothing))


def _max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> _Traced:
    if dilation != 1 or ceil_mode or return_indices:
        raise ZooError("No bounds are known for max pools with dilation, ceil_mode or indices.")
    window = (kernel_size, stride or kernel_size, padding)

    def apply(x: Tensor) -> Tensor:
        return F.max_pool2d(x, *window)

    node = Node("max_pool", (x.number,), apply(_value(x)), apply, _nothing, window=window)
    return _record(x.graph, node)


def _dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> _Traced:
    if training:
        raise ZooError("The model drops values at random; call model.eval() first.")
    return x


def _nothing(*args: Any) -> Tensor:
    raise NotImplementedError


QUESTIONS = ("__get__", "dim", "size", "numel", "is_floating_point")  # about the shape, mostly
RULES: dict[str, Callable[..., Any]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "max_pool2d": _max_pool2d,
    "dropout": _dropout,
    "cat": _cat,
    "split": _split,
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "avg_pool2d": _rearranged(F.avg_pool2d),
    "adaptive_avg_pool2d": _rearranged(F.adaptive_avg_pool2d),
    "zeros_like": _rearranged(lambda x: x * 0),
    "__getitem__": _rearranged(lambda x, index: x[index]),
    **{
        name: _rearranged(getattr(torch.Tensor, name))
        for name in ("flatten", "unflatten", "transpose", "permute", "contiguous")
    },
}
IN_PLACE = {"add_": _add, "sub_": _sub, "mul_": _mul}  # such as x += y
RULES |= IN_PLACE
