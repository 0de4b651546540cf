"""Attacks from independent libraries: torchattacks, and the AutoAttack authors' pyautoattack.

Each runs on whole blocks, seeded by `seed + block number`, so that on one block it returns bit
for bit what the library returns when called directly with that seed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch

from robnet_zoo.attacks.base import AttackBatch, AttackOutput
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel

INSTALL = 'the attack library is not installed; run: pip install "robnet-zoo[eval]"'


def require(attack: str, module: str) -> Any:
    """Import an attack library.

    Raises:
        ZooError: it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ZooError(f"Attack '{attack}' needs {module}: {INSTALL}.") from error


@dataclass(frozen=True, kw_only=True)
class LibraryAttack:
    """What the library attacks have in common: their settings are their fields."""

    name: str
    library: ClassVar[str] = "pyautoattack"
    minimal: ClassVar[bool] = False

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return the fields and the library's name."""
        return {**asdict(self), "library": self.library}

    def check(self) -> None:
        """Raise ZooError unless the library can be imported."""
        require(self.name, self.library)


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

    def cost(self) -> int:
        """Return the forward passes that an image which stays robust takes."""
        runs = self.target_classes if self.loss == "dlr-targeted" else 1
        return 1 + runs * self.restarts * (self.steps + 1) * self.eot

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
            "seed": batch.seed + batch.number,
            "device": batch.images.device,
        }
        if self.loss == "dlr-targeted":
            targets = others(self.name, model, batch, self.target_classes, least=4)
            attack = base.APGDAttack_targeted(model, n_target_classes=targets, **common)
        else:
            if self.loss == "dlr":
                others(self.name, model, batch, 1, least=3)
            attack = base.APGDAttack(model, loss=self.loss, **common)
        return AttackOutput(adversarial=attack.perturb(batch.images, batch.labels))


@dataclass(frozen=True, kw_only=True)
class Fab(LibraryAttack):
    """Targeted Fast Adaptive Boundary attack (Croce and Hein 2020)."""

    steps: int = 100
    restarts: int = 1
    target_classes: int = 9

    def cost(self) -> int:
        """Return the forward passes that an image which stays robust takes."""
        return self.target_classes * self.restarts * (2 * self.steps + 3)

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
        return AttackOutput(adversarial=attack.perturb(batch.images, batch.labels))


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
    minimal: ClassVar[bool] = True

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


def others(
    attack: str, model: AttackedModel, batch: AttackBatch, wanted: int, *, least: int
) -> int:
    """Return how many other classes to aim at: `wanted`, or as many as there are.

    Raises:
        ZooError: the model has fewer than `least` classes, too few for this attack's loss.
    """
    classes = model(batch.images[:1]).shape[1]
    if classes < least:
        raise ZooError(
            f"Attack '{attack}' needs at least {least} classes and this model has {classes}; "
            "use pgd100 or square."
        )
    return min(wanted, classes - 1)
