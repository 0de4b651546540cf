"""Whether attacks may see a faster form of the model in its place."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robnet_zoo.attacks.pgd import cross_entropy
from robnet_zoo.eval.checks.model import ModelUnderTest
from robnet_zoo.eval.checks.registry import Finding, check

FOLDED = "folded-form"
CLOSE = 1e-3  # of the largest value; rounding in float32 is far below
ALIKE = 0.99  # of the gradient's larger half of signs; float32 leaves out one in some thousand


@check(
    FOLDED,
    kind="model",
    catches="a network changed by hand, of which its folded form knows nothing",
    fails_if="logits differ by over 1e-3 of the largest, or over 1 % of the larger gradients in "
    "sign; attacks then see the network itself",
)
def check_folded(given: ModelUnderTest) -> Finding | None:
    """The faster form gives the model's logits and the direction of its gradients."""
    if given.attack_model is None:
        return None
    logits, gradients = _look(given.model, given.images, given.labels)
    fast_logits, fast_gradients = _look(given.attack_model, given.images, given.labels)
    apart = float((logits - fast_logits).abs().amax() / logits.abs().amax().clamp(min=1e-12))
    large = gradients.abs() >= gradients.abs().flatten(1).median(1).values[:, None, None, None]
    alike = float((gradients.sign() == fast_gradients.sign())[large].float().mean())
    return (
        apart <= CLOSE and alike >= ALIKE,
        f"The folded form's logits are within {apart:.1e} of the model's, and {100 * alike:.2f} % "
        "of the larger gradients point the same way",
        "attacks saw the model itself",
    )


def _look(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logits (N, classes) and the gradient of the cross-entropy by the images."""
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        logits = model(leaf)
        (gradients,) = torch.autograd.grad(cross_entropy(logits, labels).sum(), leaf)
    return logits.detach(), gradients
