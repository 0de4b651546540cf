"""FAB, from pyautoattack."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from robnet_zoo.attacks.base import Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.library import LibraryAttack, others, require
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.threat_models import NORMS, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Fab(LibraryAttack):
    """Targeted Fast Adaptive Boundary attack (Croce and Hein 2020)."""

    steps: int = 100
    restarts: int = 1
    target_classes: int = 9

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(restarts=True, norms=NORMS)

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image that stays robust."""
        return self.target_classes * self.restarts * (3 * self.steps + 3)

    @torch.no_grad()
    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch; images that FAB could not break within epsilon come back clean."""
        attack = require(self.name, "pyautoattack.fab_pt").FABAttack_PT(
            model,
            n_iter=self.steps,
            n_restarts=self.restarts,
            eps=threat_model.epsilon.value,
            norm=threat_model.norm,
            seed=batch.seed + batch.number,
            targeted=True,
            n_target_classes=others(self.name, model, batch, self.target_classes, least=2),
            device=batch.images.device,
        )
        attack.attack_single_run = model.step(attack.attack_single_run)
        return AttackOutput(adversarial=attack.perturb(batch.images, batch.labels))
