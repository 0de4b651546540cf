"""A watch over a search's numbers: a cell chosen by what is not a number would mean nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from robnet_zoo.runtime.errors import ZooError

ADVICE = "lower the learning rates or the weight decay, and choose another --out"


def check_finite(values: Mapping[str, Any], when: str) -> None:
    """Raise ZooError unless all numbers and tensors are finite, those inside of others included.

    The logarithm of nothing, -inf, is allowed where a name says that a value is one ("log_...").

    Args:
        values: figures, or a checkpoint's state, by name.
        when: ends the sentence's first half, such as "after epoch 3".
    """
    for name, value in _leaves("", values):
        label = name.rpartition(".")[2]
        if not _is_finite(value, logarithm=label.startswith("log_")):
            shown = "not finite" if isinstance(value, Tensor) and value.numel() > 1 else f"{value}"
            raise ZooError(f"The search cannot go on: {name} is {shown} {when}; {ADVICE}.")


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the floats and tensors inside of nested values, with the names that lead to them."""
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    else:
        if isinstance(value, (float, Tensor)):
            yield name, value
        return
    for key, part in parts:
        yield from _leaves(f"{name}.{key}" if name else str(key), part)


def _is_finite(value: float | Tensor, *, logarithm: bool) -> bool:
    if isinstance(value, Tensor):
        good = value.isfinite()
        return bool((good | value.isneginf() if logarithm else good).all())
    return math.isfinite(value) or (logarithm and value == -math.inf)
