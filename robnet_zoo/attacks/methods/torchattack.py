"""Any attack of torchattacks by name, such as "torchattacks:VMIFGSM".

What its class takes beside the model becomes the attack's settings. Epsilon, norm, seed and number
of classes are the evaluation's, and the length of a step is the threat model's.
"""

from __future__ import annotations

import warnings
from collections.abc import Container
from dataclasses import dataclass, field, fields, make_dataclass
from functools import lru_cache
from inspect import Parameter, isclass, signature
from math import prod
from typing import Any, ClassVar

import torch
from torch import nn

from robnet_zoo.attacks.base import Attack, Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.library import LibraryAttack, require
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.naming import TARGETED
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.randomness import seeded
from robnet_zoo.threat_models import GRADIENT_NORMS, NORMS, Epsilon, ThreatModel

LIBRARY = "torchattacks"
PREFIX = f"{LIBRARY}:"
SIZES = ("eps", "max_epsilon")  # what the library calls epsilon
GIVEN = {*SIZES, "alpha", "norm", "seed", "n_classes", "verbose"}  # not settings of their own
OURS = {"n_restarts": "restarts"}  # the library's word, and the command line's
COUNTS = (  # settings that multiply the passes
    *("steps", "num_iter_set", "n_queries", "max_iterations", "binary_search_steps", "nb_iter"),
    *("nb_sample", "eot_iter", "restarts", "m", "N", "noise_batch_size", "popsize"),
)
BLACK_BOXES = {"GN", "OnePixel", "Pixle", "SPSA", "Square", "VANILA"}
REFUSED = {
    "LGV": "it trains models on a data set of its own",
    "MultiAttack": "it has no attack of its own; name those it would run, with commas between them",
}
NOTES = {
    "AutoAttack": "torchattacks' AutoAttack takes 10 steps a part, not 100; the standard version "
    "is autoattack.",
}


@dataclass(frozen=True, kw_only=True)
class TorchAttack(LibraryAttack):
    """An attack of torchattacks; a class derived from this has the library's settings as fields."""

    library: ClassVar[str] = LIBRARY
    method: ClassVar[str]
    takes: ClassVar[dict[str, Any]]  # arguments of the library's class and their defaults

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return traits_of(self.method, {*self.takes, *(own.name for own in fields(self))})

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image, roughly."""
        counts = [getattr(self, name) for name in COUNTS if hasattr(self, name)]
        return 1 + prod(counts or [10]) * (2 if self.traits.gradients else 1)

    def arguments(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return what the library's class is called with, but for seed and number of classes."""
        own = {name: OURS.get(name, name) for name in self.takes if name not in GIVEN}
        arguments = {name: getattr(self, setting) for name, setting in own.items()}
        arguments |= dict.fromkeys(self.takes.keys() & SIZES, threat_model.epsilon.value)
        if "alpha" in self.takes:
            arguments["alpha"] = self._step(threat_model)
        if "norm" in self.takes:
            arguments["norm"] = threat_model.norm
        return arguments

    def _step(self, threat_model: ThreatModel) -> float:
        chosen = getattr(self, "alpha", None)
        if chosen is not None:
            return Epsilon.parse(chosen, "alpha").value
        if "steps" in self.takes:
            return threat_model.step.value
        one_step: float = self.takes["alpha"] / self.takes["eps"]  # FFGSM's is longer than epsilon
        return one_step * threat_model.epsilon.value

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return all arguments of the library's class, and the library's name."""
        settings = super().settings(threat_model)
        for key, value in self.arguments(threat_model).items():
            settings[OURS.get(key, key)] = list(value) if isinstance(value, tuple) else value
        return settings

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch.

        Raises:
            ZooError: the library fails.
        """
        if self.method in NOTES:
            warnings.warn(NOTES[self.method], stacklevel=2)
        seed = batch.seed + batch.number
        arguments = self.arguments(threat_model)
        if "n_classes" in self.takes:
            arguments["n_classes"] = model(batch.images[:1]).shape[1]
        if "seed" in self.takes:
            arguments["seed"] = seed
        with seeded(seed):
            try:
                attack = getattr(require(self.name, LIBRARY), self.method)(model, **arguments)
                attack.set_device(batch.images.device)
                if getattr(self, "targeted", False):
                    attack.set_mode_targeted_random(quiet=True)
                adversarial = attack(batch.images, batch.labels)
            except (ZooError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                raise ZooError(
                    f"Attack '{self.name}' fails in {LIBRARY} ({type(error).__name__}: {error}); "
                    "change its settings or use another."
                ) from error
        return AttackOutput(adversarial=adversarial)


def traits_of(method: str, settings: Container[str]) -> Traits:
    """Return what an attack of torchattacks needs and is.

    Args:
        method: its class.
        settings: the names of its settings, as in the record.
    """
    sized = any(size in settings for size in SIZES)
    norms: tuple[str, ...] = ("L2",) if method.endswith("L2") else ("Linf",)
    if not sized or "norm" in settings:
        norms = GRADIENT_NORMS if sized else NORMS
    return Traits(
        gradients=method not in BLACK_BOXES,
        minimal=not sized,
        restarts="restarts" in settings,
        norms=norms,
    )


def method_of(name: str) -> str:
    """Return the library's class in a name such as "torchattacks:PGD-targeted"."""
    return name.removeprefix(PREFIX).removesuffix(TARGETED)


def torchattack(name: str) -> Attack:
    """Return the attack of a name such as "torchattacks:VMIFGSM".

    Raises:
        ZooError: the library is not installed, or has no such attack.
    """
    attack: Attack = _attack_class(method_of(name))(name=name)
    return attack


@lru_cache
def _attack_class(method: str) -> type[TorchAttack]:
    """Return the class of our own whose fields are the settings of the library's class."""
    library = require(PREFIX + method, LIBRARY)
    base = library.attack.Attack
    known: dict[str, Any] = {
        name: kind
        for name, kind in vars(library).items()
        if isclass(kind) and issubclass(kind, base) and kind is not base and name not in REFUSED
    }
    if method in REFUSED:
        raise ZooError(f"Attack '{PREFIX}{method}' cannot be judged by itself: {REFUSED[method]}.")
    if method not in known:
        raise unknown_name(f"attack of {LIBRARY}", method, known)
    parameters = list(signature(known[method].__init__).parameters.values())[2:]
    takes = {each.name: each.default for each in parameters if each.kind != Parameter.VAR_KEYWORD}
    own: dict[str, Any] = {
        OURS.get(name, name): default for name, default in takes.items() if name not in GIVEN
    }
    if "alpha" in takes:
        own["alpha"] = None
    if "targeted" in known[method](nn.Linear(1, 1)).supported_mode:
        own["targeted"] = False
    return make_dataclass(
        f"TorchAttack{method}",
        [(name, Any, field(default=default)) for name, default in own.items()],
        bases=(TorchAttack,),
        namespace={"method": method, "takes": takes, "__doc__": f"{method} of {LIBRARY}."},
        frozen=True,
        kw_only=True,
    )
