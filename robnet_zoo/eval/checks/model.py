"""The checks of a model before it is attacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from robnet_zoo.attacks.adaptive import Adaptive
from robnet_zoo.attacks.calling import Model, as_module, explained
from robnet_zoo.attacks.losses import cross_entropy, margin
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.attacks.norms import TINY
from robnet_zoo.attacks.verdicts import validate_classes
from robnet_zoo.eval.checks.registry import Finding, run_checks
from robnet_zoo.eval.record.check import Check
from robnet_zoo.threat_models import ThreatModel

IMAGES = 64  # that single passes look at
FLOAT_ERROR = 5e-7  # of an image's spread of logits: what float32 leaves open in one of them
Value = TypeVar("Value")


def check_model(
    model: Model,
    images: Tensor,
    labels: Tensor,
    threat_model: ThreatModel,
    *,
    seed: int = 0,
    batch_size: int = IMAGES,
    attack_model: AttackedModel | None = None,
    adaptive: Adaptive | None = None,
) -> tuple[Check, ...]:
    """Check whether attacks on a model can be trusted, on at most 64 images.

    The model, its gradients and the global generators are left as they were. A check that cannot
    apply is skipped and says so: those behind a failed one that they build on, and those of the
    small attacks where the model gives every image the same class.

    Args:
        model: from images (N, C, H, W) with pixels in [0,1] to logits (N, classes).
        images: (N, C, H, W), on the model's device; the first 64 are used.
        labels: (N,).
        threat_model: sets the size of the small attacks, which are L2 balls under L1.
        seed: of their noise.
        batch_size: images in a forward pass at most.
        attack_model: what attacks are to see in the model's place, checked where it is given.
        adaptive: the surrogate that gives the gradients, and the draws of a randomised model,
            whose gradients are checked with the same draws each time.

    Raises:
        ZooError: the model returns no logits (N, classes), or too few for the labels.
    """
    model = as_module(model)
    training = [] if getattr(model, "training", False) else in_train_mode(model)
    adaptive = adaptive or Adaptive()
    with preserve_state(model, seed):
        return run_checks(
            "model",
            ModelUnderTest(
                model=AttackedModel(
                    model,
                    batch_size,
                    attack_model=adaptive.view(model, seed),
                    adaptive=adaptive,
                    seed=seed,
                ),
                images=images[:IMAGES],
                labels=labels[:IMAGES],
                threat_model=threat_model.for_gradients(images[0].numel()),
                seed=seed,
                attack_model=attack_model,
                training=tuple(training),
            ),
        )


def in_train_mode(model: nn.Module) -> list[str]:
    """Return the names of the modules that are in train mode."""
    return [
        name or "the model"
        for name, part in model.named_modules()
        if getattr(part, "training", False)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelUnderTest:
    """What the checks of a model look at; what several of them need is computed once.

    Attributes:
        model: in eval mode, as attacks see it; `model.model` is the network itself.
        images: (N, C, H, W) in [0,1], at most 64.
        labels: (N,).
        threat_model: sets the size of small attacks.
        seed: of their noise.
        attack_model: what attacks are to see in the model's place, if anything.
        training: modules that were in train mode while the model was in eval mode.
    """

    model: AttackedModel
    images: Tensor
    labels: Tensor
    threat_model: ThreatModel
    seed: int
    attack_model: AttackedModel | None
    training: tuple[str, ...]
    _values: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False)

    def once(self, compute: Callable[[ModelUnderTest], Value]) -> Value:
        """Return what a function of this says, from the first time that it was asked."""
        if compute not in self._values:
            self._values[compute] = compute(self)
        return self._values[compute]

    @property
    def logits(self) -> Tensor:
        """The model's logits (N, classes)."""
        return self.once(_first_pass).logits

    @property
    def plain_logits(self) -> Tensor:
        """The same, from a pass in which no gradient is asked for."""
        return self.once(_plain_pass)

    @property
    def spread(self) -> Tensor:
        """How far an image's logits lie apart (N,), the yardstick of every tolerance."""
        return (self.logits.amax(1) - self.logits.amin(1)).clamp(min=TINY)

    @property
    def float_error(self) -> Tensor:
        """What float32 may change in a difference of two logits of an image (N,)."""
        size = self.logits.abs().amax(1)
        return torch.maximum(FLOAT_ERROR * self.spread, 2 * torch.finfo(torch.float32).eps * size)

    @property
    def gradients(self) -> tuple[Tensor, Tensor] | None:
        """Of cross-entropy and margin by the images (N, C, H, W); None if they do not depend."""
        return self.once(_first_pass).gradients

    @property
    def backward_operations(self) -> int:
        """How many operations of a backward pass the forward pass ran."""
        return self.once(_first_pass).backward_operations

    @property
    def adaptive(self) -> Adaptive:
        """The surrogate of the gradients, and the draws of a randomised model."""
        return self.model.adaptive

    def judge_gradient(self, true: bool, seen: str, remedy: str) -> Finding:
        """Return a finding on whether the gradient is the model's, which a surrogate's need not be.

        Whether that leads anywhere is for the checks of small attacks to say.
        """
        if self.adaptive.surrogate is None:
            return true, seen, remedy
        return True, f"The gradient is the surrogate's, not the model's. {seen}", remedy

    @property
    def follows_gradients(self) -> bool:
        """Whether small attacks have gradients to follow and a second class to reach."""
        finite = self.gradients is not None and bool(self.gradients[1].isfinite().all())
        return finite and len(self.logits.argmax(1).unique()) > 1


@dataclass(frozen=True, kw_only=True, eq=False)
class _FirstPass:
    logits: Tensor
    gradients: tuple[Tensor, Tensor] | None
    backward_operations: int


def _first_pass(given: ModelUnderTest) -> _FirstPass:
    """Return the logits and the gradients of both losses; the graph is let go."""
    with torch.enable_grad(), explained("be differentiated"):
        leaf = given.images.detach().clone().requires_grad_()
        with _BackwardCount() as count:
            logits = given.model(leaf)
        validate_classes(given.labels, logits)
        by_entropy, by_margin = (
            _gradient(loss(logits.to(leaf.dtype), given.labels), leaf)
            for loss in (cross_entropy, margin)
        )
    return _FirstPass(
        logits=logits.detach(),
        gradients=None if by_entropy is None or by_margin is None else (by_entropy, by_margin),
        backward_operations=count.operations,
    )


@torch.no_grad()
def _plain_pass(given: ModelUnderTest) -> Tensor:
    return given.model(given.images)


def margin_gradient(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logits (N, classes) and the margin's gradient by the images (N, C, H, W)."""
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        logits = model(leaf).to(leaf.dtype)
        (gradient,) = torch.autograd.grad(margin(logits, labels).sum(), leaf)
    return logits.detach(), gradient


def _gradient(losses: Tensor, images: Tensor) -> Tensor | None:
    """Return the gradient by the images, None if the losses do not depend on them."""
    if not losses.requires_grad:
        return None
    return torch.autograd.grad(losses.sum(), images, retain_graph=True, allow_unused=True)[0]


class _BackwardCount(TorchDispatchMode):
    """Counts the backward operations that are executed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: asking torch.compile to skip this imports it, a second or more."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.operations += "backward" in func.__name__
        return func(*args, **(kwargs or {}))
