"""The small networks that are changed: trained on digits from fixed seeds, in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.checks.data import training_digits
from robnet_zoo.attacks.pgd import Adversary

TWO_STEPS = Adversary(epsilon=0.15, step_size=0.1, steps=2)
BATCH = 64
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a small network comes about.

    Attributes:
        seed: of its weights and of the order of the images.
        epochs: over all training images.
        adversary: makes the images that it learns from; clean ones if None.
    """

    seed: int
    epochs: int
    adversary: Adversary | None = None


NORMALLY, ADVERSARIALLY = "trained normally", "trained adversarially"
NETWORKS = {
    NORMALLY: Training(seed=1, epochs=6),
    ADVERSARIALLY: Training(seed=0, epochs=4, adversary=TWO_STEPS),
}
THIRD = Training(seed=7, epochs=4)  # another member for ensembles

# where the network below has its activations: behind these of its layers
FIRST_NORM, FIRST_RELU, SECOND_NORM, SECOND_RELU = 1, 2, 4, 5


def small_network() -> nn.Sequential:
    """Return an untrained network of two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def seeded(build: Callable[[], Network], seed: int) -> Network:
    """Return an untrained network whose weights are drawn from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def fit(
    network: nn.Module,
    epochs: int,
    *,
    seed: int,
    adversary: Adversary | None = None,
    rate: float = 1e-2,
) -> None:
    """Train a network in place with Adam, and leave it in eval mode.

    Args:
        network: from images (N, 1, 8, 8) to logits (N, 10).
        epochs: over all training images.
        seed: of the order of the images, the adversary's starts and dropout.
        adversary: makes the images that the network learns from; clean ones if None.
        rate: of learning.
    """
    images, labels = training_digits()
    optimizer = torch.optim.Adam(network.parameters(), rate)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(epochs):
            for batch in torch.randperm(len(labels), generator=generator).split(BATCH):
                seen = images[batch]
                if adversary is not None:
                    seen = adversary(network.eval(), seen, labels[batch], generator=generator)
                optimizer.zero_grad()
                F.cross_entropy(network.train()(seen), labels[batch]).backward()
                optimizer.step()
    network.eval()


@lru_cache
def _weights(training: Training) -> dict[str, Tensor]:
    network = seeded(small_network, training.seed)
    fit(network, training.epochs, seed=training.seed, adversary=training.adversary)
    return network.state_dict()


def trained(training: Training) -> nn.Sequential:
    """Return a fresh copy of a trained network, in eval mode; it is trained once."""
    network = small_network()
    network.load_state_dict(_weights(training))
    return network.eval()
