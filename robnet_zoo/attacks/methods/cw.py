"""The attack of Carlini and Wagner, from torchattacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from robnet_zoo.attacks.base import Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.library import LibraryAttack, require
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.threat_models import NORMS, ThreatModel


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(LibraryAttack):
    """Carlini and Wagner's L2 attack (2017) with a fixed constant, by Adam in tanh space.

    The library cannot move a pixel that is exactly 0 or 1 (its tanh coordinate is infinite), and
    most pixels of a scan are: images are therefore handed over with pixels in
    [`inset`, 1 - `inset`]. Distances are measured from the true image. The library's own 50
    steps of 0.01 end before most images are fooled at any distance, hence more and longer ones.
    """

    c: float = 1.0
    kappa: float = 0.0
    steps: int = 100
    lr: float = 0.05
    inset: float = 0.01
    library: ClassVar[str] = "torchattacks"

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(minimal=True, norms=NORMS, loss="margin")

    def cost(self) -> int:
        """Return the forward passes that an image takes."""
        return self.steps

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch."""
        attack = require(self.name, "torchattacks").CW(
            model, c=self.c, kappa=self.kappa, steps=self.steps, lr=self.lr
        )
        attack.set_device(batch.images.device)
        return AttackOutput(
            adversarial=attack(batch.images.clamp(self.inset, 1 - self.inset), batch.labels)
        )
