"""A loss of the user's own, which the record can name."""

from __future__ import annotations

import hashlib
import inspect
import marshal
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from robnet_zoo.attacks.calling import explained
from robnet_zoo.attacks.losses import Loss
from robnet_zoo.runtime.errors import ZooError


@dataclass(frozen=True)
class OwnLoss:
    """A function from logits (N, classes) and labels (N,) to the losses (N,) that attacks raise.

    Attributes:
        function: at the top of a module, so that it has a name.
        name: as in the record, "module:function".
        sha256: of its source.
    """

    function: Loss
    name: str
    sha256: str

    @classmethod
    def of(cls, function: Loss) -> OwnLoss:
        """Return a function as a loss.

        Raises:
            ZooError: it is none, or has no name of its own.
        """
        name = getattr(function, "__qualname__", "")
        if not inspect.isfunction(function) or "<" in name:
            raise ZooError(
                f"A loss must be a function at the top of a module, which the record can name, "
                f"from logits (N, classes) and labels (N,) to losses (N,); this is {function!r}."
            )
        try:
            source = inspect.getsource(function).encode()
        except OSError:  # typed into an interpreter
            source = marshal.dumps(function.__code__)
        return cls(function, f"{function.__module__}:{name}", hashlib.sha256(source).hexdigest())

    def settings(self) -> dict[str, Any]:
        """Return what the record says about it."""
        return {"loss": self.name, "loss_sha256": self.sha256}

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the losses (N,).

        Raises:
            ZooError: the function fails, or returned something else.
        """
        with explained("be computed", f"loss '{self.name}'"):
            losses = self.function(logits, labels)
        if not isinstance(losses, Tensor) or losses.shape != labels.shape:
            shape = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ZooError(
                f"Loss '{self.name}' must return one value an image, {list(labels.shape)}; it "
                f"returned {shape}."
            )
        if logits.requires_grad and not losses.requires_grad:
            raise ZooError(
                f"Loss '{self.name}' does not depend on the logits for autograd, so no attack can "
                "raise it; take detach, no_grad and NumPy out of it."
            )
        if losses.isnan().any():
            raise ZooError(
                f"Loss '{self.name}' is not a number (NaN) for {int(losses.isnan().sum())} of "
                f"{len(losses)} images; look for a root, logarithm or division that meets 0."
            )
        return losses
