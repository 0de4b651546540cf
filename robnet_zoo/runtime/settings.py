"""Settings that their annotations check: frozen dataclasses, however they are made."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.options import example

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)

LARGEST = 3.4e38  # of float32's numbers, nearly
LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def check_settings(settings: DataclassInstance, what: str = "") -> None:
    """Check every field against its annotation; call it from `__post_init__`.

    Args:
        settings: fields of plain values, or of settings that check themselves.
        what: begins the errors, such as "Recipe setting ".

    Raises:
        ZooError: a value has the wrong type, is out of range, or is no number of float32's.
    """
    for name, kind in _annotations(type(settings)).items():
        check_setting(name, getattr(settings, name), kind, what)


def settings_from(values: Mapping[str, Any], kind: type[Settings], what: str) -> Settings:
    """Return settings of values read from JSON or TOML.

    Args:
        values: by field; a field that has a default may be left out.
        kind: the frozen dataclass.
        what: what errors call the source, such as "recipe 'mine.toml'".

    Raises:
        ZooError: an unknown or missing field, or a value that does not fit its annotation.
    """
    known = _annotations(kind)
    for name, value in values.items():
        if name not in known:
            raise unknown_name(f"setting in the {what}:", name, known)
        check_setting(name, value, known[name], f"In the {what}, ")
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ZooError(f"The {what} is incomplete or wrong: {error}.") from error


def check_setting(name: str, value: Any, kind: Any, what: str = "") -> None:
    """Raise ZooError unless a value fits an annotation, which may hold a range."""
    if hasattr(type(value), "__dataclass_fields__"):
        return
    if not _fits(value, kind):
        allowed = _allowed(kind, value)
        size = f", and no larger than {LARGEST:g}" if _is_too_large(value) else ""
        raise ZooError(f"{what}{name}={value} is out of range; it must be {allowed}{size}.")


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return not _is_too_large(value)


def _is_too_large(value: Any) -> bool:
    """Return whether a value is a number that torch's float32 does not hold, NaN included."""
    return isinstance(value, (int, float)) and not abs(value) <= LARGEST


@cache
def _annotations(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _allowed(kind: Any, value: Any) -> str:
    """Return an annotation's range in words, such as "at least 0 and below 1".

    Its type is named too where the value is not of it.
    """
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) is not Annotated:
        optional = len(parts) == 1 and type(None) in typing.get_args(kind)
        return f"{_allowed(parts[0], value)}, or none" if optional else example(kind)
    limits = [
        f"{word} {limit:g}"
        for name, word in LIMITS.items()
        if (limit := getattr(parts[1], name)) is not None
    ]
    own = parts[0]
    return ("" if _fits(value, own) else f"{example(own)}, ") + " and ".join(limits)
