"""Which settings of two evaluations differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.runtime.decode import to_builtins


class Difference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A setting that two records have different values of; None where one has no such setting."""

    setting: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.setting}: {shown(self.first)} against {shown(self.second)}"


def differences(first: EvaluationRecord, second: EvaluationRecord) -> list[Difference]:
    """Return every setting that differs between two evaluations, and every version.

    Of attacks, those of the same name are held against each other; or the two, where each record
    has a single one.
    """
    single = len(first.attacks) == len(second.attacks) == 1
    shared = set(first.attack_names) & set(second.attack_names)
    sides = [
        dict(_flat("", _settings(record) | _attack_settings(record, shared, single)))
        for record in (first, second)
    ]
    return [
        Difference(setting=key, first=sides[0].get(key), second=sides[1].get(key))
        for key in {**sides[0], **sides[1]}
        if sides[0].get(key) != sides[1].get(key)
    ]


def shown(value: Any) -> str:
    """Return a setting's value as text."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _settings(record: EvaluationRecord) -> dict[str, Any]:
    """Return what decides verdicts, or may: names as they are shown."""
    threat, settings = record.threat_model, to_builtins(record.settings)
    return {
        "norm": threat.norm,
        "epsilon": threat.epsilon_value,
        "step": threat.step_value,
        **{key.replace("_", " "): value for key, value in settings.items()},
        "attacks": ", ".join(record.attack_names),
        "images": record.data.n,
        "environment": record.environment,
    }


def _attack_settings(record: EvaluationRecord, shared: set[str], single: bool) -> dict[str, Any]:
    return {
        attack.full_name if attack.full_name in shared else "attack": {
            key: value for key, value in attack.settings.items() if key not in ("name", "step")
        }
        for attack in record.attacks
        if attack.full_name in shared or single
    }


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Yield every plain value in dicts and lists, by the words that lead to it."""
    if isinstance(value, dict):
        nested = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(part, dict) for part in value):
        nested = {str(part.get("name", place)): part for place, part in enumerate(value, 1)}.items()
    else:
        yield name, value
        return
    for key, part in nested:
        yield from _flat(f"{name} {key}".strip(), part)
