"""Whether attacks on a randomised model average enough draws to know where to go."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.pgd import margin
from robnet_zoo.eval.checks.model import ModelUnderTest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

STEADY = 0.75  # median cosine of two averages: below, attacks of 20 steps lost 7 points
WANTED = 0.9  # of that cosine, by the draws that the remedy asks for


@check(
    "steady-gradient",
    kind="model",
    catches="noise that drowns the gradient of single draws",
    fails_if="gradients of a randomised model, averaged over the draws of --eot, have a median "
    "cosine under 0.75 with another such average",
    needs=("gradient-path",),
)
def check_steady_gradient(given: ModelUnderTest) -> Finding | Skipped:
    """Two averages over as many draws as attacks take point the same way."""
    eot = given.adaptive.eot
    if not given.adaptive.randomised:
        return Skipped("The model is judged by one pass, without draws")
    first, second = (_gradient(given) for _ in range(2))
    cosine = float(F.cosine_similarity(first, second).median())
    more = eot * (1 / max(cosine, 0.05) - 1) * WANTED / (1 - WANTED)
    wanted = math.ceil(max(more, eot + 1))
    return (
        cosine >= STEADY,
        f"Gradients averaged over {eot} {'draws' if eot > 1 else 'draw'} have a median cosine of "
        f"{cosine:.2f} with others",
        f"single draws drown the way; give --eot {wanted}, or autoattack-rand",
    )


def _gradient(given: ModelUnderTest) -> torch.Tensor:
    """Return the gradient of the margin (N, pixels) by new draws."""
    model = AttackedModel(given.model.model, len(given.images), adaptive=given.adaptive)
    with torch.enable_grad():
        leaf = given.images.detach().clone().requires_grad_()
        losses = margin(model(leaf), given.labels).sum()
        (gradient,) = torch.autograd.grad(losses, leaf)
    return gradient.flatten(1)
