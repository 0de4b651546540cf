"""The confidence constraint Pr[lambda_F <= lambda*] >= eta and its multiplier (RACL, Eqs. 13-19).

With lambda_F log-normal the constraint is (ln lambda* - mu) / sigma >= Phi^-1(eta) (Eq. 15), and
"omitting the square root on sigma" (Eq. 16) c <= 0 with

    c = mu + Phi^-1(eta) sigma^2 - ln lambda*.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from robnet_zoo.search.racl.moments import LogNormal
from robnet_zoo.search.racl.recipe import Penalty, Spread

TINY = 1e-300  # a variance of 0, that of constants, as a number whose root has a slope


@dataclass(frozen=True)
class Constraint:
    """The constraint on the network's Lipschitz score.

    Attributes:
        log_target: ln lambda*.
        eta: the confidence asked for, between 0 and 1.
        rho: weight of the squared violation, and the multiplier's step.
        spread: what stands behind Phi^-1(eta): sigma^2 (Eq. 16) or sigma (Eq. 15).
        penalty: "hinge" takes max(c, 0) for c and keeps theta from falling below 0; "literal"
            adds theta c + rho/2 c^2 (Eq. 17), which also pulls a satisfied c back to 0, and does
            not settle.
    """

    log_target: float
    eta: float
    rho: float
    spread: Spread = "variance"
    penalty: Penalty = "hinge"

    def violation(self, score: LogNormal) -> Tensor:
        """Return c, which is above 0 where the constraint is not met."""
        spread = (
            score.variance if self.spread == "variance" else score.variance.clamp(min=TINY).sqrt()
        )
        return score.mean + NormalDist().inv_cdf(self.eta) * spread - self.log_target

    def probability(self, score: LogNormal) -> Tensor:
        """Return Pr[lambda_F <= lambda*] (Eq. 14)."""
        return torch.special.ndtr(
            (self.log_target - score.mean) / score.variance.clamp(min=TINY).sqrt()
        )

    def cost(self, violation: Tensor, theta: float) -> Tensor:
        """Return what the violation adds to the classification loss (Eq. 17)."""
        c = violation.clamp(min=0) if self.penalty == "hinge" else violation
        return theta * c + self.rho / 2 * c**2

    def raised(self, theta: float, violation: float) -> float:
        """Return the multiplier after its step theta + rho c (Eq. 19)."""
        theta += self.rho * violation
        return max(theta, 0.0) if self.penalty == "hinge" else theta
