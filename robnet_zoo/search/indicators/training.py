"""A short adversarial training: what a few hundred steps tell of an architecture."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import to_float
from robnet_zoo.data.splits import Split
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.models.fast.refresh import refresh
from robnet_zoo.runtime.randomness import keyed_generator, seeded
from robnet_zoo.search.indicators.candidate import Candidate
from robnet_zoo.search.indicators.probe import Probe
from robnet_zoo.search.indicators.registry import indicator
from robnet_zoo.search.indicators.settings import TrialSettings
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.batch_norm import statistics_momentum

MOMENTUM, DECAY, WARM = 0.9, 5e-4, 0.3  # and the part of the steps in which the rate rises


def train_briefly(
    candidate: Candidate,
    split: Split,
    threat: ThreatModel,
    settings: TrialSettings,
    seed: int,
) -> nn.Module:
    """Return a network after a short adversarial training with PGD-2, in eval mode.

    Epsilon rises with the learning rate, which then falls to 0. All architectures see the same
    images in the same order, and the same noise. Images are crafted on the network in eval mode,
    in its folded form.

    Args:
        candidate: the architecture.
        split: what it is trained on.
        threat: sets epsilon.
        settings: steps, batch size and learning rate.
        seed: of weights, order and noise.
    """
    with seeded(seed):
        network = candidate.build().to(split.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), settings.lr, MOMENTUM, weight_decay=DECAY, nesterov=True
    )
    epsilon, order = threat.epsilon.value, random.Random(f"{seed}/order")

    def draw() -> tuple[Tensor, Tensor]:
        chosen = torch.tensor(order.sample(range(len(split)), settings.batch_size))
        chosen = chosen.to(split.device)
        return to_float(split.images(chosen)), split.labels[chosen]

    with torch.no_grad(), statistics_momentum(network.train(), 1.0):
        network(draw()[0])
    folded = fold(network.eval(), image_size=candidate.image_size)
    for step in range(settings.steps):
        progress = (step + 1) / settings.steps
        rise, fall = min(1.0, progress / WARM), min(1.0, (1 - progress) / (1 - WARM) + 1e-3)
        size = epsilon * rise
        adversary = Adversary(epsilon=size, step_size=size / 2, steps=2)
        images, labels = draw()
        noise = keyed_generator(seed, "noise", step, device=str(split.device))
        refresh(folded)
        attacked = adversary(folded, images, labels, generator=noise)
        optimizer.param_groups[0]["lr"] = settings.lr * min(rise, fall)
        optimizer.zero_grad()
        F.cross_entropy(network.train()(attacked), labels).backward()
        optimizer.step()
    return network.eval()


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
