"""Several networks, several views of an image, or the training images beside one network."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.checks.changed import Change, confidence, median, straight_through
from benchmarks.checks.data import CLASSES, SIDE, training_digits
from benchmarks.checks.networks import ADVERSARIALLY, NETWORKS, THIRD, trained


class Vote(nn.Module):
    """Three networks, whose logits are combined."""

    def __init__(
        self, networks: Iterable[nn.Module], combine: Callable[[list[Tensor]], Tensor]
    ) -> None:
        super().__init__()
        self.networks, self.combine = nn.ModuleList(networks), combine

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        return self.combine([network(images) for network in self.networks])


def vote(combine: Callable[[list[Tensor]], Tensor]) -> Change:
    """Return a vote with two others, one of them trained adversarially."""
    return lambda network: Vote(
        [network, trained(THIRD), trained(NETWORKS[ADVERSARIALLY])], combine
    ).eval()


def sharp(every: list[Tensor]) -> Tensor:
    """Return ten times the sum of nearly one-hot probabilities."""
    return 10 * torch.stack([(logits / 0.05).softmax(1) for logits in every]).sum(0)


def hard(every: list[Tensor]) -> Tensor:
    """Return the number of votes, with a little of the logits for a gradient."""
    votes = [F.one_hot(logits.argmax(1), CLASSES) for logits in every]
    return 5.0 * torch.stack(votes).sum(0) + 0.1 * torch.stack(every).sum(0)


class Neighbours(nn.Module):
    """The training images whose logits are nearest decide."""

    def __init__(self, network: nn.Module, hard: bool) -> None:
        super().__init__()
        self.network, self.hard = network, hard
        images, self.labels = training_digits()
        with torch.no_grad():
            self.known = network(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return votes of the nearest five, or minus the distance to each class (N, 10)."""
        logits = self.network(images)
        distances = torch.cdist(logits, self.known)
        if not self.hard:
            nearest = [distances[:, self.labels == label].amin(1) for label in range(CLASSES)]
            return -torch.stack(nearest, 1)
        near, places = distances.topk(5, largest=False)
        votes = torch.zeros(len(images), CLASSES)
        votes = votes.scatter_add(1, self.labels[places], 1 + 0.1 * (-near).softmax(1))
        return votes + 1e-3 * logits


class FixedNoise(nn.Module):
    """The mean prediction on an image with 16 noises, the same for every image."""

    def __init__(self, network: nn.Module, votes: bool) -> None:
        super().__init__()
        self.network, self.votes = network, votes
        generator = torch.Generator().manual_seed(1)
        self.noise = 0.15 * torch.randn(16, 1, 1, SIDE, SIDE, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return the log of mean probabilities, or of votes with their gradient (N, 10)."""
        logits = self.network((images + self.noise).flatten(0, 1))
        rates = logits.view(len(self.noise), len(images), CLASSES).softmax(2)
        if self.votes:
            rates = straight_through(rates, F.one_hot(rates.argmax(2), CLASSES).float())
        return (rates.mean(0) + 1e-3).log()


class Trials(nn.Module):
    """Of eight noises, the one is taken with which the network is surest."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        generator = torch.Generator().manual_seed(2)
        self.noise = 0.08 * torch.randn(8, 1, 1, SIDE, SIDE, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        with torch.no_grad():
            tried = images + self.noise
            sure = confidence(self.network(tried.flatten(0, 1))).view(len(self.noise), -1)
            chosen = tried[sure.argmax(0), torch.arange(len(images))]
        return self.network(straight_through(images, chosen))


class Gate(nn.Module):
    """Another network answers for noisy images."""

    def __init__(self, network: nn.Module, other: nn.Module, detach: bool) -> None:
        super().__init__()
        self.network, self.other, self.detach = network, other, detach

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        noisy = (images - median(images)).abs().mean((1, 2, 3)) > 0.14
        logits = self.other(images)
        logits = logits.detach() + 0 * logits if self.detach else logits
        return torch.where(noisy[:, None], logits, self.network(images))


class EarlyExit(nn.Module):
    """Another network answers where the first is unsure."""

    def __init__(self, network: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.network, self.other = network, other

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        logits = self.network(images)
        return torch.where(confidence(logits) > 0.9, logits, self.other(images))


class ShiftedTwin(nn.Module):
    """Three tenths of the logits are those of the shifted image, without a gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        return 0.7 * self.network(images) + 0.3 * self.network(images.roll(1, 3)).detach()


FIRST: dict[str, Change] = {
    "a vote of probabilities, nearly one-hot": vote(sharp),
    "a vote of decisions, and a little of the logits": vote(hard),
    "five nearest training images": lambda network: Neighbours(network, hard=True).eval(),
    "distance to the nearest of each class": lambda network: Neighbours(network, hard=False).eval(),
    "smoothing by fixed noise": lambda network: FixedNoise(network, votes=False).eval(),
    "votes under fixed noise, straight through": lambda network: FixedNoise(
        network, votes=True
    ).eval(),
    "the surest of eight noises": lambda network: Trials(network).eval(),
    "a gradient that is cut for noisy images": lambda network: Gate(
        network, network, detach=True
    ).eval(),
    "another network for noisy images": lambda network: Gate(
        network, trained(THIRD), detach=False
    ).eval(),
    "another network for unsure images": lambda network: EarlyExit(network, trained(THIRD)).eval(),
    "a shifted twin, detached": lambda network: ShiftedTwin(network).eval(),
}
SECOND: dict[str, Change] = {}
OTHER_DECISIONS: frozenset[str] = frozenset()
