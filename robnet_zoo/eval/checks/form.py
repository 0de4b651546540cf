"""Whether attacks may see a faster form of the model in its place."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robnet_zoo.attacks.pgd import cross_entropy
from robnet_zoo.eval.checks.finding import finding
from robnet_zoo.eval.record import Check

FORM = "folded-form"
CLOSE = 1e-3  # of the largest value; rounding in float32 is far below
ALIKE = 0.99  # of the gradient's larger half of signs; float32 leaves out one in some thousand


def check_form(
    model: Callable[[Tensor], Tensor],
    attack_model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
) -> Check:
    """The faster form gives the model's logits and the direction of its gradients.

    Args:
        model: from images (N, C, H, W) in [0,1] to logits (N, classes).
        attack_model: the form that attacks are to see.
        images: (N, C, H, W).
        labels: (N,).
    """
    logits, gradients = _look(model, images, labels)
    fast_logits, fast_gradients = _look(attack_model, images, labels)
    apart = float((logits - fast_logits).abs().amax() / logits.abs().amax().clamp(min=1e-12))
    large = gradients.abs() >= gradients.abs().flatten(1).median(1).values[:, None, None, None]
    alike = float((gradients.sign() == fast_gradients.sign())[large].float().mean())
    return finding(
        FORM,
        apart <= CLOSE and alike >= ALIKE,
        f"The folded form's logits are within {apart:.1e} of the model's, and {100 * alike:.2f} % "
        "of the larger gradients point the same way",
        "attacks saw the model itself",
    )


def _look(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        logits = model(leaf)
        (gradients,) = torch.autograd.grad(cross_entropy(logits, labels).sum(), leaf)
    return logits.detach(), gradients
