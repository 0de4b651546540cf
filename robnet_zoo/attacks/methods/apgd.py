"""Auto-PGD, from pyautoattack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from robnet_zoo.attacks.base import Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.library import LibraryAttack, others, require
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.threat_models import NORMS, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Apgd(LibraryAttack):
    """Auto-PGD (Croce and Hein 2020): step sizes that adapt to the progress.

    Attributes:
        loss: cross-entropy, difference of logits ratio, or the latter towards each of the
            `target_classes` most likely other classes in turn.
        eot: gradients averaged a step, for randomised models.
    """

    loss: Literal["ce", "dlr", "dlr-targeted"] = "ce"
    steps: int = 100
    restarts: int = 1
    eot: int = 1
    target_classes: int = 9

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        loss: Literal["ce", "margin"] = "ce" if self.loss == "ce" else "margin"
        return Traits(loss=loss, restarts=True, norms=NORMS)

    @property
    def least_classes(self) -> int:
        """How many classes the loss needs."""
        return {"ce": 2, "dlr": 3, "dlr-targeted": 4}[self.loss]

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image that stays robust."""
        runs = self.target_classes if self.loss == "dlr-targeted" else 1
        return 1 + runs * self.restarts * 2 * (self.steps + 1) * self.eot

    @torch.no_grad()
    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch."""
        base = require(self.name, "pyautoattack.autopgd_base")
        common = {
            "n_iter": self.steps,
            "n_restarts": self.restarts,
            "eot_iter": self.eot,
            "eps": threat_model.epsilon.value,
            "norm": threat_model.norm,
            "use_largereps": threat_model.norm == "L1",  # 3 and 2 epsilon first, as the authors do
            "seed": batch.seed + batch.number,
            "device": batch.images.device,
        }
        if self.loss == "dlr-targeted":
            targets = others(self.name, model, batch, self.target_classes, least=self.least_classes)
            attack = base.APGDAttack_targeted(model, n_target_classes=targets, **common)
        else:
            if self.loss == "dlr":
                others(self.name, model, batch, 1, least=self.least_classes)
            attack = base.APGDAttack(model, loss=self.loss, **common)
        attack.attack_single_run = model.step(attack.attack_single_run)
        return AttackOutput(adversarial=attack.perturb(batch.images, batch.labels))
