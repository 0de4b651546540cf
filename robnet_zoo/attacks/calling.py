"""How a model is called, whatever it is: from images with pixels in [0,1] to logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.runtime.errors import ZooError, cause

# What is judged: a module, or a plain function from images (N, C, H, W) to logits (N, classes)
Model = nn.Module | Callable[[Tensor], Any]


class Function(nn.Module):
    """A plain function as a module without parameters.

    Args:
        function: from images (N, C, H, W) to logits (N, classes).
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Any:
        """Return what the function returns."""
        return self.function(images)


def as_module(model: Model, what: str = "model") -> nn.Module:
    """Return a model as a module; `what` names it in errors.

    Raises:
        ZooError: it is neither a module nor a function.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, type):
        raise ZooError(f"The {what} is the class {model.__name__}; give an instance of it.")
    if isinstance(model, str) or not callable(model):
        shown = f"the text '{model}'" if isinstance(model, str) else f"a {type(model).__name__}"
        raise ZooError(
            f"The {what} is {shown}; give an nn.Module, such as robnet_zoo.create_model returns, "
            "or a function from images (N, C, H, W) to logits (N, classes)."
        )
    return Function(model)


def model_name(model: nn.Module) -> str:
    """Return what a model without another name is called: its class, or its function."""
    own = model.function if isinstance(model, Function) else type(model)
    return str(getattr(own, "__name__", type(own).__name__))


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return a model's logits (N, classes) for images (N, C, H, W).

    The model is given a copy of the images, which it may change, in the precision of its
    parameters. Its output may be the logits, what has them as `.logits` (as in Hugging Face's
    transformers) or under "logits", or a tuple, list or mapping that begins with them. Those in
    float64 are rounded to float32.

    Raises:
        ZooError: it returns no logits of that shape, or fails in a pass without gradients.
    """
    given = images.to(precision_of(model, images.dtype), copy=True)
    if torch.is_grad_enabled():  # checkpoints end a pass by an exception of their own
        output = model(given)
    else:
        with explained(f"take images of shape {list(images.shape)}"):
            output = model(given)
    logits = _first(output)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        raise ZooError(
            "The model must return logits of shape (N, classes) for images (N, C, H, W); "
            f"it returned {_describe(logits)}."
        )
    return logits.float() if logits.dtype == torch.float64 else logits


@contextmanager
def explained(action: str, what: str = "model") -> Iterator[None]:
    """Turn what a model's own code raises into one sentence; `action` is what it cannot do."""
    try:
        yield
    except (ZooError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ZooError(f"The {what} cannot {action}: {cause(error)}.") from error


def precision_of(model: nn.Module, default: torch.dtype = torch.float32) -> torch.dtype:
    """Return the type that a model computes in: of its first parameter, or buffer, of floats."""
    tensors = chain(model.parameters(), model.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), default)


def _first(output: Any) -> Any:
    """Return the logits out of what a model returns."""
    if isinstance(output, Tensor):
        return output
    named = getattr(output, "logits", None)
    if isinstance(output, Mapping):
        named = output.get("logits", next(iter(output.values()), None))
    elif named is None and isinstance(output, tuple | list) and output:
        named = output[0]
    return output if named is None else named


def _describe(value: object) -> str:
    shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
    return f"a {type(value).__name__}{shape}"
