"""Architecture weights as log-normal random variables (RACL, section 2.3).

Every entry of alpha (operations) and beta (edges) is exp(mu + sigma e), e standard normal and
independent. They start at PC-DARTS's uniform mixture, mu = ln(1/8) and ln(1/incoming edges), with
one sigma; what is learned is the distance from that start, so that weight decay pulls back to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from robnet_zoo.search.core.spaces import EDGES, TARGETS
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.racl.moments import LogNormal

INITIAL_SCALE = 1e-3  # of the random part of mu at the start, as in PC-DARTS


class Noise(NamedTuple):
    """Standard normal draws for alpha (roles, edges, operations) and beta (roles, edges)."""

    alpha: Tensor
    beta: Tensor


class Distribution:
    """The log-normals of alpha and beta for each role, in float64.

    Attributes:
        roles: the roles, in the order of the tensors' rows.
        means: learned parts of mu of alpha and of beta.
        scales: learned parts of ln sigma of alpha and of beta.
    """

    def __init__(
        self,
        roles: Sequence[str],
        operations: int,
        deviation: float,
        generator: torch.Generator,
        device: str = "cpu",
    ) -> None:
        """Start near the uniform mixture.

        Args:
            roles: the space's roles.
            operations: number of candidates of an edge.
            deviation: sigma at the start; 0 makes constants of the architecture weights.
            generator: of the CPU; draws the random part of mu.
            device: where the tensors are.
        """
        self.roles, self.deviation = tuple(roles), deviation
        self.shapes = ((len(roles), EDGES, operations), (len(roles), EDGES))
        incoming = torch.tensor([2.0 + node for node in TARGETS], dtype=torch.float64)
        self.centres = (-math.log(operations), -incoming.log().to(device))
        self.means, self.scales = [], []
        for shape in self.shapes:
            drawn = INITIAL_SCALE * torch.randn(shape, generator=generator, dtype=torch.float64)
            self.means.append(drawn.to(device).requires_grad_())
            self.scales.append(torch.zeros_like(self.means[-1]).requires_grad_())

    @property
    def alpha(self) -> LogNormal:
        """The operations' weights (roles, edges, operations)."""
        return self._log_normal(0)

    @property
    def beta(self) -> LogNormal:
        """The edges' weights (roles, edges)."""
        return self._log_normal(1)

    def _log_normal(self, part: int) -> LogNormal:
        deviation = self.deviation * self.scales[part].exp()
        return LogNormal(self.centres[part] + self.means[part], deviation**2)

    @property
    def product(self) -> LogNormal:
        """The weights beta alpha (roles, edges, operations), which decide in the end."""
        alpha, beta = self.alpha, self.beta
        return LogNormal(
            alpha.mean + beta.mean[..., None], alpha.variance + beta.variance[..., None]
        )

    def noise(self, generator: torch.Generator) -> Noise:
        """Draw the noise of one sample."""
        drawn = [
            torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float64)
            for shape in self.shapes
        ]
        return Noise(*(draws.to(self.means[0].device) for draws in drawn))

    def sample(self, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """Return alpha and beta, differentiable in `means` and `scales`; None for their medians."""
        if noise is None:
            return self.alpha.mean.exp(), self.beta.mean.exp()
        means = (self.alpha.mean, self.beta.mean)
        alpha, beta = (
            (mean + self.deviation * scale.exp() * drawn).exp()
            for mean, scale, drawn in zip(means, self.scales, noise, strict=True)
        )
        return alpha, beta

    def cells(self, noise: Noise | None, *, normalise: bool = False) -> dict[str, CellWeights]:
        """Return a sample as the supernet takes it, in float32.

        Args:
            noise: the sample's draws; None for the medians.
            normalise: divide alpha by its sum over each edge, beta by its sum over each node.
        """
        alpha, beta = self.sample(noise)
        if normalise:
            alpha = alpha / alpha.sum(-1, keepdim=True)
            nodes = beta.split([2 + node for node in sorted(set(TARGETS))], dim=-1)
            beta = torch.cat([node / node.sum(-1, keepdim=True) for node in nodes], dim=-1)
        return {
            role: CellWeights(alpha[row].float(), beta[row].float())
            for row, role in enumerate(self.roles)
        }

    def worth(self, choice: str, generator: torch.Generator) -> Tensor:
        """Return the logarithm of what each operation is judged by (roles, edges, operations).

        Args:
            choice: the "median" exp(mu) of beta alpha, its "mode" exp(mu - sigma^2), which
                favours the operations that the search is sure of, or one "sample".
            generator: draws the sample.
        """
        if choice == "sample":
            alpha, beta = self.sample(self.noise(generator))
            return alpha.log() + beta.log()[..., None]
        mean, variance = self.product
        return mean - variance if choice == "mode" else mean
