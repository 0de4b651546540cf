"""A short adversarial training: what a few hundred steps tell of an architecture."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import to_float
from robnet_zoo.data.splits import Split
from robnet_zoo.runtime.randomness import keyed_generator, seeded
from robnet_zoo.search.indicators.candidate import Candidate
from robnet_zoo.search.indicators.probe import Probe
from robnet_zoo.search.indicators.registry import indicator
from robnet_zoo.search.indicators.settings import TrialSettings
from robnet_zoo.threat_models import ThreatModel

MOMENTUM, DECAY, WARM = 0.9, 5e-4, 0.3  # and the part of the steps in which the rate rises


def train_briefly(
    candidate: Candidate,
    split: Split,
    threat: ThreatModel,
    settings: TrialSettings,
    seed: int,
) -> nn.Module:
    """Return a network after a short adversarial training with PGD-2, in train mode.

    Epsilon rises with the learning rate, which then falls to 0. All architectures see the same
    images in the same order, and the same noise.

    Args:
        candidate: the architecture.
        split: what it is trained on.
        threat: sets epsilon.
        settings: steps, batch size and learning rate.
        seed: of weights, order and noise.
    """
    with seeded(seed):
        network = candidate.build().to(split.device).train()
    optimizer = torch.optim.SGD(
        network.parameters(), settings.lr, MOMENTUM, weight_decay=DECAY, nesterov=True
    )
    epsilon, order = threat.epsilon.value, random.Random(f"{seed}/order")
    for step in range(settings.steps):
        progress = (step + 1) / settings.steps
        rise, fall = min(1.0, progress / WARM), min(1.0, (1 - progress) / (1 - WARM) + 1e-3)
        size = epsilon * rise
        adversary = Adversary(epsilon=size, step_size=size / 2, steps=2)
        chosen = torch.tensor(order.sample(range(len(split)), settings.batch_size))
        chosen = chosen.to(split.device)
        images, labels = to_float(split.images(chosen)), split.labels[chosen]
        noise = keyed_generator(seed, "noise", step, device=str(split.device))
        attacked = adversary(network, images, labels, generator=noise)
        optimizer.param_groups[0]["lr"] = settings.lr * min(rise, fall)
        optimizer.zero_grad()
        F.cross_entropy(network(attacked), labels).backward()
        optimizer.step()
    return network


@indicator(
    "robust_accuracy",
    stage="trained",
    meaning="held-out robust accuracy, PGD-10",
)
def robust_accuracy(probe: Probe) -> float:
    """Return the robust accuracy on the held-out images."""
    assert probe.score is not None
    return probe.score.rank


@indicator("clean_accuracy", stage="trained", meaning="held-out clean accuracy")
def clean_accuracy(probe: Probe) -> float:
    """Return the clean accuracy on the held-out images."""
    assert probe.score is not None
    return probe.score.clean
