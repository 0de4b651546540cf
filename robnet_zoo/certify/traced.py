"""Tensors that write down what is done to them, as nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.certify.graph import Graph, Map, Node
from robnet_zoo.runtime.errors import ZooError

# About the shape, mostly.
QUESTIONS = ("__get__", "__len__", "dim", "size", "numel", "is_floating_point")


@dataclass(frozen=True)
class Rule:
    """What an operation is to a graph.

    Attributes:
        apply: takes the operation's name, then its arguments under torch's own names, and returns
            what it gives as `Traced`.
        several: more than its first argument may depend on the images.
    """

    apply: Callable[..., Any]
    several: bool = False


@dataclass(frozen=True, eq=False)
class Recorder:
    """A graph that grows, and the rules by which it does."""

    rules: Mapping[str, Rule]
    graph: Graph = field(default_factory=list)

    def record(self, node: Node) -> Traced:
        """Add a value and return it as a tensor that goes on writing.

        Raises:
            ZooError: its first dimension no longer holds the images, or its precision changes.
        """
        if self.graph:
            images = self.graph[0].value
            if node.value.shape[:1] != images.shape[:1]:
                raise refused(node.name, "that moves images from the first dimension")
            if node.value.dtype != images.dtype:
                raise refused(node.name, f"that turns {images.dtype} into {node.value.dtype}")
        self.graph.append(node)
        traced = node.value.as_subclass(Traced)
        traced.recorder, traced.number = self, len(self.graph) - 1
        return traced


class Traced(Tensor):
    """A tensor that depends on the images, and its number in the graph of its recorder."""

    recorder: Recorder
    number: int

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return _call(func, args, kwargs or {})


def _call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = func.__name__
    if name in QUESTIONS:
        answer = func(*args, **kwargs)
        if not isinstance(answer, Tensor):
            return answer
        name = getattr(func.__self__, "__name__", name)  # an attribute, such as T
    values = [*args, *kwargs.values()]
    rule = next(_traced(values)).recorder.rules.get(name)
    if rule is None:
        raise ZooError(
            f"No bounds are known for '{name}': a certified model is made of convolutions, linear "
            "layers, batch norms, ReLUs, pools, means, sums, pads and concatenations."
        )
    if not rule.several and (
        not isinstance(values[0], Traced) or any(True for _ in _traced(values[1:]))
    ):
        raise refused(name, "whose other arguments depend on the images")
    overwrites = kwargs.get("inplace") or (name.endswith("_") and not name.endswith("__"))
    if overwrites and not isinstance(values[0], Traced):
        raise refused(name, "that writes into what is not from the images")
    try:
        result = rule.apply(name, *args, **kwargs)
    except TypeError as error:
        raise refused(name, "with these arguments") from error
    if overwrites:
        values[0].number = result.number  # what it is from here on
    return result


def _traced(values: Iterable[Any]) -> Iterator[Traced]:
    for each in values:
        if isinstance(each, Traced):
            yield each
        elif isinstance(each, list | tuple):
            yield from _traced(each)


def refused(name: str, why: str) -> ZooError:
    """Return the error for a use of an operation that no bounds are known for."""
    return ZooError(f"No bounds are known for a '{name}' {why}.")


def value(x: Traced) -> Tensor:
    """Return a traced tensor's value."""
    return x.recorder.graph[x.number].value


def affine(
    name: str,
    parents: tuple[Traced, ...],
    apply: Map,
    linear: Map,
    spread: Map,
    adjoint: Any = None,
) -> Traced:
    """Record an affine map; arguments are those of `Node`."""
    result = apply(*map(value, parents))
    numbers = tuple(parent.number for parent in parents)
    node = Node(name, "affine", numbers, result, apply, linear, spread, adjoint)
    return parents[0].recorder.record(node)


def rearranged(func: Map) -> Callable[..., Traced]:
    """Return the rule of a linear map without negative coefficients."""

    def rule(name: str, input: Traced, *args: Any, **kwargs: Any) -> Traced:
        def apply(x: Tensor) -> Tensor:
            return func(x, *args, **kwargs)

        return affine(name, (input,), apply, apply, apply)

    return rule


def nothing(*args: Any) -> Tensor:
    """Stand where a node has no such map."""
    raise NotImplementedError
