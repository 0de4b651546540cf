"""JSON and TOML read into typed values, and these as plain ones.

A type is a msgspec.Struct, or a frozen dataclass, whose annotations are the schema: types,
literals, and ranges as `Annotated[int, msgspec.Meta(ge=1)]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from robnet_zoo.runtime.errors import ZooError

T = TypeVar("T")
Count = Annotated[int, Meta(ge=0)]
PositiveCount = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
PositiveAmount = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]


def read_json(path: Path, kind: type[T], what: str) -> T:
    """Read a JSON file as a value of type `kind`; `what` names it in errors, such as "record".

    Raises:
        ZooError: the file cannot be read, is not JSON, or does not fit the type.
    """
    return _read(path, kind, what, "JSON", msgspec.json.decode)


def read_toml(path: Path, kind: type[T], what: str) -> T:
    """Read a TOML file as a value of type `kind`; `what` names it in errors, such as "recipe".

    Raises:
        ZooError: the file cannot be read, is not TOML, or does not fit the type.
    """
    return _read(path, kind, what, "TOML", msgspec.toml.decode)


def json_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a type, such as `EvaluationRecord`."""
    return msgspec.json.schema(kind)


def convert(value: Any, kind: type[T], what: str) -> T:
    """Return a decoded JSON value as one of type `kind`; `what` names it in errors.

    Raises:
        ZooError: it does not fit the type.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ZooError(f"The {what} does not fit its format: {error}.") from error


def to_builtins(value: Any) -> Any:
    """Return a typed value as dicts, lists, tuples and plain values, ready for JSON."""
    return msgspec.to_builtins(value)


def _read(path: Path, kind: type[T], what: str, syntax: str, decode: Any) -> T:
    try:
        return decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ZooError(f"Cannot read the {what} '{path}': {error.strerror}.") from error
    except ZooError as error:  # of a type that compares its fields
        raise ZooError(f"The {what} '{path}' is not valid: {error}") from error
    except msgspec.ValidationError as error:
        raise ZooError(f"The {what} '{path}' does not fit its format: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ZooError(f"The {what} '{path}' is not {syntax}: {error}.") from error
