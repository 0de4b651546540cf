"""Attacks that aim at another class say so in their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TARGETED = "-targeted"  # behind the name of an attack that aims at another class


def named_by_aim(name: str, targeted: bool) -> str:
    """Return a name with "-targeted" behind it, or without."""
    return name.removesuffix(TARGETED) + TARGETED * targeted


def is_targeted(settings: Mapping[str, Any]) -> bool:
    """Whether the attack of a record, or what a transfer attack ran, aimed at another class."""
    base = settings.get("base")
    return settings.get("targeted") is True or (isinstance(base, Mapping) and is_targeted(base))


def full_name(name: str, settings: Mapping[str, Any]) -> str:
    """Return the name of a record's attack, with "-targeted" where its settings say so.

    Older records leave that out of the name.
    """
    return named_by_aim(name, True) if is_targeted(settings) else name
