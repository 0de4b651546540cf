"""Values that an attack's settings take: numbers and switches of the right kind."""

from __future__ import annotations

import math
from dataclasses import Field
from numbers import Real
from typing import Any

from robnet_zoo.runtime.errors import ZooError

KINDS = {
    "int": "a whole number (an int)",
    "bool": "True or False",
    "float": "a finite number",
}


def validate_setting(attack: str, field: Field[Any], value: Any) -> None:
    """Raise ZooError unless a value is of the kind that a field is annotated with.

    Fields that are neither numbers nor switches are left to the attack.
    """
    annotated = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
    kind, _, rest = annotated.partition(" | ")
    if kind not in KINDS or rest not in ("", "None") or (rest and value is None):
        return
    switch = isinstance(value, bool)
    fits = {
        "int": isinstance(value, int) and not switch,
        "bool": switch,
        "float": isinstance(value, Real) and not switch and math.isfinite(value),
    }
    if not fits[kind]:
        raise ZooError(
            f"{field.name} of attack '{attack}' must be {KINDS[kind]} and not {value!r}."
        )
