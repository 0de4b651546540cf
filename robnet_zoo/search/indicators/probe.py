"""A network and the images that indicators look at it with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.models.networks import Network
from robnet_zoo.runtime.randomness import keyed_generator, seeded
from robnet_zoo.search.indicators.candidate import Candidate
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.batch_norm import statistics_momentum
from robnet_zoo.train.validate import Score

STEPS = 7  # of PGD


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """A network in eval mode, whose batch norms know the images, and what it is probed with.

    Attributes:
        candidate: what it was built from.
        network: in eval mode; indicators leave it as it was.
        images: (N, C, H, W) with pixels in [0,1].
        labels: (N,).
        threat_model: sets the size of perturbations.
        seed: of the noise.
        score: held-out accuracies of a trained network; None for one that is not trained.
    """

    candidate: Candidate
    network: Network
    images: Tensor
    labels: Tensor
    threat_model: ThreatModel
    seed: int
    score: Score | None = None

    @property
    def epsilon(self) -> float:
        """The size of perturbations, as a fraction of the pixel range."""
        return self.threat_model.epsilon.value

    @cached_property
    def adversarial(self) -> Tensor:
        """The images under PGD-7 with steps of a quarter of epsilon."""
        adversary = Adversary(epsilon=self.epsilon, step_size=self.epsilon / 4, steps=STEPS)
        return adversary(
            self.network, self.images, self.labels, generator=keyed_generator(self.seed, "probe")
        )

    @cached_property
    def gradients(self) -> list[Tensor]:
        """The gradient of the mean loss on the images, by each weight."""
        return self._gradients(self.images)

    @cached_property
    def adversarial_gradients(self) -> list[Tensor]:
        """The same on the attacked images."""
        return self._gradients(self.adversarial)

    @property
    def weights(self) -> list[Tensor]:
        """The trainable weights, in the order of the gradients."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def loss(self, images: Tensor) -> Tensor:
        """Return the mean cross-entropy of images."""
        return F.cross_entropy(self.network(images), self.labels)

    def input_gradients(self, images: Tensor) -> Tensor:
        """Return the gradient of each image's loss by its pixels (N, C, H, W)."""
        leaf = images.detach().requires_grad_()
        total = F.cross_entropy(self.network(leaf), self.labels, reduction="sum")
        return torch.autograd.grad(total, leaf)[0]

    def _gradients(self, images: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(self.loss(images), self.weights))


def start_probe(
    candidate: Candidate, images: Tensor, labels: Tensor, threat_model: ThreatModel, seed: int
) -> Probe:
    """Return a probe of the network with random weights, drawn from a seed."""
    with seeded(seed):
        network = cast(Network, candidate.build()).to(images.device)
    return probe_of(candidate, network, images, labels, threat_model, seed)


@torch.no_grad()
def probe_of(
    candidate: Candidate,
    network: Network,
    images: Tensor,
    labels: Tensor,
    threat_model: ThreatModel,
    seed: int,
    score: Score | None = None,
) -> Probe:
    """Return a probe of a network, after its batch norms have taken the images' statistics."""
    network.train()
    with statistics_momentum(network, 1.0):
        network(images)
    return Probe(
        candidate=candidate,
        network=network.eval(),
        images=images,
        labels=labels,
        threat_model=threat_model,
        seed=seed,
        score=score,
    )
