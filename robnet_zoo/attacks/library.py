"""Attacks from independent libraries: the AutoAttack authors' pyautoattack, adv-lib, torchattacks.

Each runs on whole blocks, seeded by `seed + block number`, so that on one block it returns bit
for bit what the library returns when called directly with that seed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, ClassVar

from robnet_zoo.attacks.base import Attack
from robnet_zoo.attacks.batch import AttackBatch
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel

INSTALLS = {  # what to run; adv-lib asks for packages that it needs for plots alone
    "pyautoattack": 'pip install "robnet-zoo[eval]"',
    "torchattacks": 'pip install "robnet-zoo[torchattacks]"',
    "adv_lib": 'pip install --no-deps "adv-lib>=0.2.8,<0.3"',
}


def require(attack: str, module: str) -> Any:
    """Import an attack library.

    Raises:
        ZooError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ZooError(
            f"Attack '{attack}' needs {library}, which is not installed; run: {INSTALLS[library]}."
        ) from error


@dataclass(frozen=True, kw_only=True)
class LibraryAttack(Attack):
    """What the library attacks have in common."""

    library: ClassVar[str] = "pyautoattack"

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return the fields and the library's name."""
        return {**asdict(self), "library": self.library}

    def check(self) -> None:
        """Raise ZooError unless the library can be imported."""
        require(self.name, self.library)


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
