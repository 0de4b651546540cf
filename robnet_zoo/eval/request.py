"""What an evaluation was asked for: attacks chosen, fitted to the model, and refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from robnet_zoo.attacks.adaptive import Adaptive
from robnet_zoo.attacks.base import Attack, Suite, validate
from robnet_zoo.attacks.calling import model_name
from robnet_zoo.attacks.fingerprint import function_fingerprint
from robnet_zoo.attacks.losses import Loss
from robnet_zoo.attacks.methods.gradient import with_loss
from robnet_zoo.attacks.model import (
    AttackedModel,
    device_of,
    preserve_state,
    state_sha256,
    validate_precision,
)
from robnet_zoo.eval.attack_names import named_attack
from robnet_zoo.eval.identity import first_images, identify
from robnet_zoo.eval.inputs import Images, RunMetadata
from robnet_zoo.eval.record.check import Check
from robnet_zoo.eval.record.setup import ModelInfo, Settings, SurrogateInfo, ThreatInfo
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What an evaluation was asked for; `attacks` has the settings of each by name."""

    model: ModelInfo
    images: Images
    threat_model: ThreatModel
    metadata: RunMetadata
    attacks: dict[str, Any]
    settings: Settings

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the verdicts."""
        return identify(
            model=self.model,
            data=self.images.info(self.metadata),
            threat_model=ThreatInfo.of(self.threat_model),
            settings=self.settings,
            attacks=self.attacks,
        )


def validate_adaptive(adaptive: Adaptive, device: torch.device, compile: str | None) -> None:
    """Raise ZooError unless the surrogate can be used, and nothing but a plain model compiled."""
    if compile is not None and not adaptive.plain:
        raise ZooError("compile does not go with a surrogate, eot or draws; leave it out.")
    if adaptive.surrogate is not None:
        validate_precision(adaptive.surrogate, "surrogate")
        place = device_of(adaptive.surrogate)
        if adaptive.surrogate.state_dict() and place != device:
            raise ZooError(f"The surrogate is on {place} and the model on {device}; move it there.")


def adaptive_settings(adaptive: Adaptive, images: Images, surrogate: str) -> dict[str, Any]:
    """Return what the record's settings say about adaptive attacks; nothing of plain ones.

    Args:
        adaptive: the surrogate and the draws.
        images: of which the first give the surrogate's fingerprint.
        surrogate: its name, where it has another than its class.
    """
    settings: dict[str, Any] = {}
    if adaptive.surrogate is not None:
        settings["surrogate"] = SurrogateInfo(
            name=surrogate or model_name(adaptive.surrogate),
            state_sha256=state_sha256(adaptive.surrogate),
            fingerprint=function_fingerprint(adaptive.surrogate, first_images(images)),
        )
    if adaptive.randomised:
        settings |= {"eot": adaptive.eot, "draws": adaptive.draws, "decide": adaptive.decide}
    return settings


def choose_attacks(
    attacks: Sequence[Attack | Suite | str],
    threat_model: ThreatModel,
    adaptive: Adaptive,
    loss: str | Loss | None,
) -> list[Attack | Suite]:
    """Return the attacks of these names, with another loss if one was asked for.

    Raises:
        ZooError: there is none, one is unknown, named twice, or cannot run here.
    """
    if isinstance(attacks, str | Attack | Suite):
        raise ZooError("Attacks come in a list, such as ['pgd20', 'square']; put it into one.")
    chosen = [named_attack(name) if isinstance(name, str) else name for name in attacks]
    for attack in chosen:
        if not isinstance(attack, Attack | Suite):
            raise ZooError(f"{attack} is no attack; give a name, or what get_attack returns.")
    if loss is not None:
        chosen = [with_loss(attack, loss) for attack in chosen]
    if not chosen:
        raise ZooError("There is no attack to judge by; name one, such as pgd100.")
    names = [attack.name for attack in chosen]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ZooError(f"Attack '{min(twice)}' is named twice; name each attack once.")
    for attack in chosen:
        validate(attack, threat_model)
        own = max(getattr(part, "eot", 1) for part in attack.parts)
        if own > 1 and adaptive.eot > 1:
            raise ZooError(
                f"Attack '{attack.name}' averages {own} draws a step of its own; leave out eot."
            )
    return chosen


def averaged_draws(attacks: list[Attack | Suite], adaptive: Adaptive) -> int:
    """Return how many draws of a randomised model every attack's gradient averages at least."""
    parts = [part for attack in attacks for part in attack.parts if part.traits.gradients]
    own = min((getattr(part, "eot", 1) for part in parts), default=1)
    return max(own, adaptive.eot) if adaptive.randomised else 1


def fitted(
    attacks: list[Attack | Suite], threat_model: ThreatModel, model: nn.Module, images: Images
) -> list[Attack | Suite]:
    """Return the attacks, suites as they run under the threat model on the model's classes."""
    if not any(isinstance(attack, Suite) for attack in attacks):
        return attacks
    with preserve_state(model), torch.no_grad():
        logits = AttackedModel(model, 1)(images.take(torch.arange(1)))
    return [
        attack.fitted(threat_model, logits.shape[1]) if isinstance(attack, Suite) else attack
        for attack in attacks
    ]


def validate_gradients(attacks: list[Attack | Suite], checks: tuple[Check, ...]) -> None:
    """Refuse attacks that need gradients where the checks found none."""
    blind = any(check.name == "gradient-path" and not check.passed for check in checks)
    for part in (part for attack in attacks for part in attack.parts):
        if blind and part.traits.gradients:
            raise ZooError(
                f"Attack '{part.name}' needs gradients, and none flow from the model's logits to "
                "its input: take no_grad, detach and NumPy out of the forward pass, give a "
                "surrogate with gradients, or use square."
            )
