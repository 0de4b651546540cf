"""The gradient of a validation loss by the architecture, through one step of the weights.

The weights w that an architecture a is judged with were themselves trained under a. Second-order
search (DARTS, section 2.3) accounts for one training step, w' = w - lr d(w, a), in

    d/da L_val(w'(a), a) = dL_val/da - lr d2 L_train/(da dw) . dL_val/dw'

and approximates the last product by a difference of two first derivatives. `exact_gradient` has
autograd differentiate through the step instead, at the price of its memory. All weights move in
one call each time (`torch._foreach_*`): a supernet has thousands of tensors, most of them small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Objective = Callable[[Weights, Sequence[Tensor]], Tensor]  # (weights, architecture) -> loss

RADIUS = 0.01  # length of the finite difference's two steps in weight space, as in DARTS


class ObjectiveGradient(NamedTuple):
    """An objective's value, and its gradient by all architecture tensors, flat (n,)."""

    loss: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class VirtualStep:
    """The step of SGD that the architecture looks ahead by.

    Attributes:
        lr: its learning rate.
        momentum: decay of the momentum buffers.
        weight_decay: L2 penalty, added to the gradient.
        buffers: the optimizer's momentum buffers by name; those missing count as zero.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffers: Weights = field(default_factory=dict)

    def __call__(self, weights: Weights, gradients: Iterable[Tensor]) -> dict[str, Tensor]:
        """Return the weights after the step; the originals are left as they are."""
        values = list(weights.values())
        steps = torch._foreach_add(list(gradients), values, alpha=self.weight_decay)
        if self.buffers:
            held = [
                self.buffers[name] if name in self.buffers else torch.zeros_like(weight)
                for name, weight in weights.items()
            ]
            steps = torch._foreach_add(steps, held, alpha=self.momentum)
        moved = torch._foreach_add(values, steps, alpha=-self.lr)
        return dict(zip(weights, moved, strict=True))


def first_order_gradient(
    validation: Objective, weights: Weights, architecture: Sequence[Tensor]
) -> ObjectiveGradient:
    """Return the gradient at the present weights, as if they did not depend on the architecture."""
    loss = validation(_leaves(weights, wanted=False), architecture)
    return ObjectiveGradient(loss.detach(), _flat(_gradients(loss, architecture)))


def unrolled_gradients(
    validations: Sequence[Objective],
    training: Objective,
    weights: Weights,
    architecture: Sequence[Tensor],
    step: VirtualStep,
    radius: float = RADIUS,
) -> list[ObjectiveGradient]:
    """Return the second-order gradient of each validation loss, by finite differences.

    All objectives share one virtual step. Neither the weights nor any `.grad` are changed.

    Args:
        validations: the losses to descend; each is evaluated at the virtual weights.
        training: the loss that the virtual step descends, on the training batch.
        weights: the present weights by name.
        architecture: leaf tensors that require gradients.
        step: the virtual step.
        radius: how far, as an L2 distance, the finite difference moves the weights each way.
    """
    present = _leaves(weights, wanted=True)
    gradients = _gradients(training(present, architecture), list(present.values()))
    virtual = _leaves(step(_leaves(weights, wanted=False), gradients), wanted=True)
    results = []
    for validation in validations:
        loss = validation(virtual, architecture)
        gradients = _gradients(loss, [*architecture, *virtual.values()])
        direct, by_weights = gradients[: len(architecture)], gradients[len(architecture) :]
        direction = dict(zip(virtual, by_weights, strict=True))
        through = _mixed_product(training, weights, architecture, direction, radius)
        results.append(ObjectiveGradient(loss.detach(), _flat(direct) - step.lr * through))
    return results


def exact_gradient(
    validation: Objective,
    training: Objective,
    weights: Weights,
    architecture: Sequence[Tensor],
    step: VirtualStep,
) -> ObjectiveGradient:
    """Return what `unrolled_gradients` approximates, by differentiating twice."""
    present = _leaves(weights, wanted=True)
    loss = training(present, architecture)
    gradients = torch.autograd.grad(loss, list(present.values()), create_graph=True)
    loss = validation(step(present, gradients), architecture)
    return ObjectiveGradient(loss.detach(), _flat(_gradients(loss, architecture)))


def _mixed_product(
    training: Objective,
    weights: Weights,
    architecture: Sequence[Tensor],
    direction: Weights,
    radius: float,
) -> Tensor:
    """Return d2 L_train / (d architecture d weights) . direction, flat, by a central difference."""
    parts = [direction[name] for name in weights]
    length = torch.stack(torch._foreach_norm(parts)).norm()
    if length == 0:
        return torch.zeros_like(_flat(architecture))
    size = radius / length
    present, ends = [weight.detach() for weight in weights.values()], []
    for signed in (size, -size):
        values = torch._foreach_add(present, torch._foreach_mul(parts, signed))
        moved = dict(zip(weights, values, strict=True))
        ends.append(_flat(_gradients(training(moved, architecture), architecture)))
    return (ends[0] - ends[1]) / (2 * size)


def _gradients(loss: Tensor, by: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return a loss's gradients, zeros for tensors that it does not depend on."""
    return torch.autograd.grad(loss, by, materialize_grads=True)


def _leaves(weights: Weights, *, wanted: bool) -> dict[str, Tensor]:
    return {name: weight.detach().requires_grad_(wanted) for name, weight in weights.items()}


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
