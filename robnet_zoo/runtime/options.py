"""Settings given as text: `--set KEY=VALUE` for any frozen dataclass, and lengths of time."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from robnet_zoo.runtime.errors import ZooError, unknown_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)

UNIONS = (types.UnionType, typing.Union)  # X | None, and what it becomes where X is annotated


def override(
    settings: Settings,
    values: Mapping[str, str],
    *,
    fixed: Collection[str] = (),
    what: str = "recipe setting",
) -> Settings:
    """Return the settings with fields replaced by values written as text.

    Args:
        settings: a frozen dataclass of numbers, texts, choices, switches and tuples of numbers.
        values: text by field.
        fixed: fields that may not be set.
        what: what errors call a field.

    Raises:
        ZooError: an unknown field, or a value of the wrong type or out of range.
    """
    kinds = {k: v for k, v in typing.get_type_hints(type(settings)).items() if k not in fixed}
    for name in values:
        if name not in kinds:
            raise unknown_name(what, name, kinds)
    read = {name: _parse(what, name, text, kinds[name]) for name, text in values.items()}
    return dataclasses.replace(settings, **read)


def read_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Return settings written as KEY=VALUE, the value as text.

    Raises:
        ZooError: one has no value.
    """
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ZooError(f"--set '{pair}' has no value; write KEY=VALUE, such as clip=5.")
        values[name] = text
    return values


def parse_duration(text: str) -> float:
    """Return the seconds of "90s", "25m" or "1.5h".

    Raises:
        ZooError: not such a text, or not above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if match is None or float(match[1]) == 0:
        raise ZooError(f"Time '{text}' is not understood; write 90s, 25m or 1h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _parse(what: str, name: str, text: str, kind: Any) -> Any:
    """Read a setting's text as the type its field has."""
    what = what[:1].upper() + what[1:]
    wrong = ZooError(f"{what} '{name}={text}' is not understood; write {example(kind)}.")
    if typing.get_origin(kind) in UNIONS:  # X | None
        if text == "none":
            return None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is Literal:
        if text not in typing.get_args(kind):
            raise wrong
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise wrong
        return text == "true"
    try:
        if isinstance(kind, types.GenericAlias):
            part_kind = typing.get_args(kind)[0]
            return tuple(part_kind(part) for part in text.split(",") if part)
        return kind(text)
    except ValueError as error:
        raise wrong from error


def example(kind: Any) -> str:
    """Return what a value of a type looks like, in words."""
    if typing.get_origin(kind) in UNIONS:
        first = next(part for part in typing.get_args(kind) if part is not type(None))
        return f"{example(first)}, or none"
    if typing.get_origin(kind) is Literal:
        return " or ".join(typing.get_args(kind))
    if isinstance(kind, types.GenericAlias):
        inner = typing.get_args(kind)[0]
        return f"{'names' if inner is str else 'numbers'} with commas between them"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
