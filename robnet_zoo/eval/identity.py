"""What decides the verdicts of an evaluation, and so what a resumed one must have too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from robnet_zoo.attacks.base import Attack, Suite
from robnet_zoo.attacks.fingerprint import IMAGES, Fingerprint
from robnet_zoo.attacks.methods.transfer import Transfer
from robnet_zoo.eval.inputs import Images
from robnet_zoo.eval.record import SCHEMA, EvaluationRecord
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo, Settings, ThreatInfo
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel

FORMAT = 2  # of the blocks: 1 knew a model by its parameters alone
FINGERPRINT = "fingerprint"  # how the names of values end that are compared with a tolerance
ADAPTIVE = ("surrogate", "eot", "draws", "decide")  # settings that change verdicts


def settings_of(
    attack: Attack | Suite, threat_model: ThreatModel, images: Images
) -> dict[str, Any]:
    """Return what a repetition of an attack needs, with the fingerprint of a transfer's source."""
    settings = attack.settings(threat_model)
    if isinstance(attack, Transfer):
        fingerprint = attack.source.fingerprint(first_images(images))
        settings["source_fingerprint"] = to_builtins(fingerprint)
    return settings


def first_images(images: Images) -> Tensor:
    """Return the images (N, C, H, W) by which functions are told apart."""
    return images.take(torch.arange(min(IMAGES, len(images))))


def identify(
    *,
    model: ModelInfo,
    data: DataInfo,
    threat_model: ThreatInfo,
    settings: Settings,
    attacks: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what decides the verdicts, ready for JSON.

    Args:
        model: what is judged.
        data: the images.
        threat_model: what the attacker may do.
        settings: of the evaluation.
        attacks: the settings of each, as from `settings_of`.
    """
    adaptive = {name: getattr(settings, name) for name in ADAPTIVE}
    identity = {
        "model": model.state_sha256,
        FINGERPRINT: None if model.fingerprint is msgspec.UNSET else model.fingerprint,
        "data": data.sha256,
        "threat model": [threat_model.norm, threat_model.epsilon_value],
        "attacks": dict(attacks),
        "seed": settings.seed,
        "surrogate or draws": {
            name: value for name, value in adaptive.items() if value is not msgspec.UNSET
        },
        "format": [SCHEMA, settings.block_size, FORMAT],
    }
    return msgspec.json.decode(msgspec.json.encode(identity))


def identity_of(record: EvaluationRecord) -> dict[str, Any]:
    """Return the identity of a finished evaluation."""
    return identify(
        model=record.model,
        data=record.data,
        threat_model=record.threat_model,
        settings=record.settings,
        attacks={attack.full_name: attack.settings for attack in record.attacks},
    )


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs, in words.

    Of the attacks, only those that both have are compared. A fingerprint that an older record
    does not have differs from none.
    """
    different = []
    for name, value in wanted.items():
        known = stored.get(name)
        if name == "attacks" and known is not None:
            both = known.keys() & value.keys()
            known, value = ({attack: side[attack] for attack in both} for side in (known, value))
        if not _same(name, known, value):
            different.append("function" if name == FINGERPRINT else name)
    if {"model", "function"} <= set(different):  # other parameters have another function
        different.remove("function")
    return sorted(different)


def with_attacks(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted identity with the attacks of the stored one too."""
    if "attacks" not in wanted:
        return dict(wanted)
    return {**wanted, "attacks": {**stored.get("attacks", {}), **wanted["attacks"]}}


def validate_identity(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], where: Path, what: str, remedy: str
) -> None:
    """Raise ZooError, naming what differs, unless both describe the same evaluation.

    Args:
        stored: what is there.
        wanted: what is to be done.
        where: the stored one lies.
        what: cannot be done, such as "Cannot resume from".
        remedy: what to do instead, without a full stop.
    """
    different = differences(stored, wanted)
    if different:
        hint = (
            " (the same parameters, other logits or gradients)" if "function" in different else ""
        )
        raise ZooError(
            f"{what} '{where}': it was made with another {' and '.join(different)}{hint}; {remedy}."
        )


def _same(name: str, stored: Any, wanted: Any) -> bool:
    if name.endswith(FINGERPRINT):
        if stored is None or wanted is None:
            return True
        return msgspec.convert(stored, Fingerprint).matches(msgspec.convert(wanted, Fingerprint))
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return all(
            _same(key, stored.get(key), wanted.get(key)) for key in stored.keys() | wanted.keys()
        )
    if isinstance(stored, list) and isinstance(wanted, list):
        return len(stored) == len(wanted) and all(
            _same("", one, other) for one, other in zip(stored, wanted, strict=True)
        )
    return bool(stored == wanted)
