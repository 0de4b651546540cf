"""Whether attacks on a randomised model average enough draws to know where to go."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch.nn import functional as F

from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.eval.checks.model import ModelUnderTest, margin_gradient
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

IMAGES, AVERAGES = 32, 4  # that are compared; two may agree by chance where draws are few
STEADY = 0.75  # median cosine of two averages: below, attacks of 20 steps lost 7 points
WANTED = 0.9  # of that cosine, by the draws that the remedy asks for


@check(
    "steady-gradient",
    kind="model",
    catches="noise that drowns the gradient of single draws",
    fails_if="gradients of a randomised model, averaged over the draws of --eot, have a median "
    "cosine under 0.75 with other such averages",
    needs=("gradient-path",),
)
def check_steady_gradient(given: ModelUnderTest) -> Finding | Skipped:
    """Averages over as many draws as attacks take point the same way."""
    eot = given.adaptive.eot
    if not given.adaptive.randomised:
        return Skipped("The model is judged by one pass, without draws")
    pairs = combinations([_gradient(given) for _ in range(AVERAGES)], 2)
    cosines = torch.stack([F.cosine_similarity(first, second) for first, second in pairs])
    cosine = float(cosines.mean(0).median())
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
    model = AttackedModel(given.model.model, IMAGES, adaptive=given.adaptive)
    _, gradient = margin_gradient(model, given.images[:IMAGES], given.labels[:IMAGES])
    return gradient.flatten(1)
