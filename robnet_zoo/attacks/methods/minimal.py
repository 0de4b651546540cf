"""Attacks that look for the smallest perturbation: FMN and DDN, from adv-lib."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.base import Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.library import LibraryAttack, require
from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.verdicts import ORDERS, classes, distances
from robnet_zoo.threat_models import NORMS, Norm, ThreatModel


@dataclass(frozen=True, kw_only=True)
class AdvLibAttack(LibraryAttack):
    """What the attacks of adv-lib have in common."""

    library: ClassVar[str] = "adv_lib"

    def check(self) -> None:
        """Raise ZooError unless the library can be imported."""
        adv_lib(self.name)


@dataclass(frozen=True, kw_only=True)
class Fmn(AdvLibAttack):
    """Fast Minimum-Norm attack (Pintor 2021), in the threat model's norm.

    The library's step to the boundary can end on the near side of it, time after time, and finds
    nothing then: on a somewhat robust network, with one image in ten under L2. So it is led to a
    boundary a little further out, and the nearest broken image that it meets counts.

    Attributes:
        steps: gradients taken.
        step: length of the first step, in L2; the last one is a hundredth of it.
        gamma: by which part the ball first shrinks or grows in a step.
        lead: part of the label's lead without an attack by which its logit is raised.
    """

    steps: int = 100
    step: float = 1.0
    gamma: float = 0.05
    lead: float = 0.01

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(minimal=True, loss="margin", norms=NORMS)

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image."""
        return 2 * self.steps + 1

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch; images that no step broke come back clean."""
        nearest = Nearest(model, batch.images, batch.labels, threat_model.norm, self.lead)
        settings = {"steps": self.steps, "α_init": self.step, "γ_init": self.gamma}  # noqa: RUF001
        norm = float(ORDERS[threat_model.norm])
        adv_lib(self.name).fmn(nearest, batch.images, batch.labels, norm=norm, **settings)
        return AttackOutput(adversarial=nearest.images)


@dataclass(frozen=True, kw_only=True)
class Ddn(AdvLibAttack):
    """Decoupled Direction and Norm attack (Rony 2019), in L2, on the cross-entropy.

    Attributes:
        steps: gradients taken.
        first: size of the first perturbation.
        gamma: by which part it shrinks or grows in a step.
    """

    steps: int = 100
    first: float = 1.0
    gamma: float = 0.05

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(minimal=True, loss="ce", norms=("L2",))

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image."""
        return 2 * self.steps

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch; images that no step broke come back clean."""
        torch.manual_seed(batch.seed + batch.number)  # it moves at random where a gradient is 0
        settings = {"steps": self.steps, "init_norm": self.first, "γ": self.gamma}  # noqa: RUF001
        adversarial = adv_lib(self.name).ddn(
            model, batch.images, batch.labels, levels=None, **settings
        )
        return AttackOutput(adversarial=adversarial)


def adv_lib(attack: str) -> Any:
    """Import adv-lib's attacks.

    Raises:
        ZooError: the library is not installed.
    """
    absent = "visdom" not in sys.modules and find_spec("visdom") is None
    if absent:  # a server of plots that is imported, though nothing is plotted
        sys.modules["visdom"] = ModuleType("visdom")
    try:
        return require(attack, "adv_lib.attacks")
    finally:
        if absent:
            del sys.modules["visdom"]


class Nearest(nn.Module):
    """A model that raises the labels' logits, and keeps the nearest broken image it meets.

    Attributes:
        images: (B, C, H, W): the nearest image so far that the model misclassifies, else the clean.
    """

    def __init__(
        self, model: AttackedModel, images: Tensor, labels: Tensor, norm: Norm, lead: float
    ) -> None:
        super().__init__()
        self.model, self.clean, self.labels, self.norm = model, images, labels, norm
        with torch.no_grad():
            logits = model(images)
        raised = (-lead * margin(logits, labels)).clamp(min=0)
        self.raised = torch.zeros_like(logits).scatter_(1, labels[:, None], raised[:, None])
        self.images = images.clone()
        self.sizes = torch.full_like(raised, inf)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) for iterates of all images (B, C, H, W)."""
        logits: Tensor = self.model(images)
        with torch.no_grad():
            sizes = distances(images, self.clean, self.norm)
            nearer = (classes(logits) != self.labels) & (sizes < self.sizes)
            self.images[nearer], self.sizes[nearer] = images.detach()[nearer], sizes[nearer]
        return logits + self.raised
