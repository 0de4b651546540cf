"""Small attacks that any honest model gives way to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.pgd import Adversary, margin
from robnet_zoo.eval.checks.finding import finding
from robnet_zoo.eval.checks.gradients import check_noise
from robnet_zoo.eval.record import Check
from robnet_zoo.threat_models import ThreatModel

STEPS = 7  # of epsilon / 4, as in the papers' training
FALLING = 0.1  # share of images that may be no closer to another class than at the start
FREE_STEPS, FREE_STEP = 10, 0.2  # of the pixel range: twice across it
STANDING = 0.05  # share of images that may survive an attack without a bound


@torch.no_grad()
def check_climbs(
    model: nn.Module, images: Tensor, labels: Tensor, threat_model: ThreatModel, *, seed: int
) -> tuple[Check, ...]:
    """PGD leads towards another class, and breaks anything where it has no bound."""
    size, n = threat_model.epsilon.value, len(images)
    adversary = Adversary(epsilon=size, step_size=size / 4, steps=STEPS, norm=threat_model.norm)
    current = adversary.begin(images, check_noise(images, threat_model, seed=seed))
    margins = []
    for _ in range(STEPS):
        current, _, logits = adversary.ascend(model, current, images, labels)
        margins.append(margin(logits, labels))
    path = torch.stack([*margins, margin(model(current), labels)])
    falling = int((path[-1] <= path[0]).sum())
    left = (path <= 0).all(0)
    free = Adversary(epsilon=1, step_size=FREE_STEP, steps=FREE_STEPS)
    standing = _survivors(free, model, current[left], images[left], labels[left])
    return (
        finding(
            "loss-rises",
            falling <= FALLING * n,
            f"After {STEPS} PGD steps {falling} of {n} images are no closer to another class",
            "the gradient leads nowhere, so that surviving it proves nothing; look for flat or "
            "false gradients",
        ),
        finding(
            "unbounded-attack",
            standing <= STANDING * n,
            f"{standing} of {n} images survive an attack that may change every pixel at will",
            "no model is that robust, so the attack does not work; look for masked gradients",
        ),
    )


def _survivors(
    adversary: Adversary, model: nn.Module, current: Tensor, images: Tensor, labels: Tensor
) -> int:
    """Return how many images stay right at every iterate from `current` on."""
    for _ in range(adversary.steps):
        if not len(current):
            return 0
        moved, _, logits = adversary.ascend(model, current, images, labels)
        left = margin(logits, labels) <= 0
        current, images, labels = moved[left], images[left], labels[left]
    return int((margin(model(current), labels) <= 0).sum()) if len(current) else 0
