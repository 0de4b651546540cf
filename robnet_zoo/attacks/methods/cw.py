"""The attack of Carlini and Wagner, in L2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robnet_zoo.attacks.base import Attack, Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.verdicts import classes
from robnet_zoo.threat_models import NORMS, ThreatModel


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Attack):
    """Carlini and Wagner's L2 attack (2017) with a fixed constant, by Adam in tanh space.

    It minimises |x' - x|^2 + c * max(-margin, -kappa) over x' = (tanh(w) + 1) / 2 (Section VI-A)
    and keeps the nearest broken image of all steps. The steps are those of torchattacks, and
    tested against it; but that library takes a logit below 0 for 0, and ends for all images at
    once when the sum of their losses grows.

    Attributes:
        c: weight of the margin against the squared distance.
        kappa: lead of another class over the label at which the margin counts no more.
        steps: gradients taken.
        lr: Adam's step in tanh space.
        inset: how far from 0 and 1 the search begins; on them the gradient by w is 0, and most
            pixels of a scan are black. Distances are measured from the true image.
    """

    c: float = 1.0
    kappa: float = 0.0
    steps: int = 100
    lr: float = 0.05
    inset: float = 0.01

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(minimal=True, norms=NORMS, loss="margin")

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image."""
        return 2 * self.steps

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch; images that no step broke come back clean."""
        nearest = batch.images.clone()
        least = torch.full_like(batch.labels, torch.inf, dtype=nearest.dtype)
        start = batch.images.clamp(self.inset, 1 - self.inset)
        w = torch.atanh(2 * start - 1).requires_grad_()
        adam = torch.optim.Adam([w], lr=self.lr)
        for _ in range(self.steps):
            images = (w.tanh() + 1) / 2
            logits: Tensor = model(images)
            squares = (images - batch.images).flatten(1).square().sum(1)
            lead = margin(logits, batch.labels).clamp(max=self.kappa)
            (w.grad,) = torch.autograd.grad((squares - self.c * lead).sum(), w)
            adam.step()
            nearer = (classes(logits) != batch.labels) & (squares < least)
            nearest[nearer], least[nearer] = images.detach()[nearer], squares.detach()[nearer]
        return AttackOutput(adversarial=nearest)
