"""The papers' tables as data: columns, rows and published numbers, from the .toml files here.

A file has the settings that all its columns share, one column for each number of the table and one
row for each network:

    title = "RobNet, Table 1: white-box attacks"
    source = "Guo et al. 2020, arXiv:1911.10695, Table 1"
    training = "PGD-7, step 2/255"
    dataset = "cifar10"
    epsilon = "8/255"
    images = 10_000
    columns = [{ name = "clean", attack = "clean" }, { name = "PGD-20", attack = "pgd20" }]
    rows = [{ name = "RobNet-free", model = "robnet_free", published = [82.79, 52.74] }]
    notes = ["What else a reader should know."]

A number that the paper does not give is "-".
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.zoo.architectures import ARCHITECTURES

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Column:
    """How one column of a table is measured.

    Attributes:
        name: as in the table.
        attack: "clean", or an attack of the harness.
        origin: the model whose adversarial images are transferred (`from` in the file): a name
            of the zoo, or "copy" for a separately trained copy of the row's own model.
        dataset: the column's data set, where columns differ in it.
        weights: which weights of the row's model, such as "natural" for those trained without
            adversarial images; the adversarially trained ones if None.
        epsilon, norm, step: where they are not the table's and the threat model's.
    """

    name: str
    attack: str
    origin: str | None = None
    dataset: str | None = None
    weights: str | None = None
    epsilon: str | None = None
    norm: str | None = None
    step: str | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of a table.

    Attributes:
        name: as in the table.
        published: percent, one number a column; None where the paper gives none.
        model: the zoo's name for it.
        weights: which weights, as for columns.
        missing: why the zoo cannot measure it, instead of `model`.
    """

    name: str
    published: tuple[float | None, ...]
    model: str | None = None
    weights: str | None = None
    missing: str | None = None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One table of a paper."""

    name: str
    title: str
    source: str
    training: str
    dataset: str
    epsilon: str
    images: int | str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def names() -> list[str]:
    """Return the names of all protocols."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Protocol:
    """Read a protocol by name.

    Raises:
        ZooError: no such protocol; the nearest names are shown.
    """
    if name not in names():
        raise unknown_name("protocol", name, names())
    return read(FOLDER / f"{name}.toml")


def read(path: Path) -> Protocol:
    """Read a protocol file strictly.

    Raises:
        ZooError: not TOML, an entry missing, unknown or of the wrong type, a row with another
            number of values than there are columns, or a model that the zoo does not have.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"Cannot read the protocol '{path}': {error}.") from error
    where = f"'{path.name}'"
    columns = tuple(
        _build(
            Column, {"origin" if key == "from" else key: value for key, value in one.items()}, where
        )
        for one in _tables(found.pop("columns", None), f"{where}: columns")
    )
    rows = tuple(
        _row(one, len(columns), where) for one in _tables(found.pop("rows", None), f"{where}: rows")
    )
    notes = tuple(found.pop("notes", ()))
    return _build(
        Protocol,
        {**found, "name": path.stem, "columns": columns, "rows": rows, "notes": notes},
        where,
    )


def _row(found: dict[str, Any], columns: int, where: str) -> Row:
    where = f"{where}, row '{found.get('name')}'"
    values = found.get("published")
    if not isinstance(values, list) or len(values) != columns:
        raise ZooError(f"{where}: 'published' must hold {columns} values, one a column.")
    for value in values:
        if value != "-" and not (isinstance(value, int | float) and 0 <= value <= 100):
            raise ZooError(f"{where}: '{value}' is neither a percentage nor \"-\".")
    published = tuple(None if value == "-" else float(value) for value in values)
    row = _build(Row, {**found, "published": published}, where)
    if (row.model is None) == (row.missing is None):
        raise ZooError(f"{where}: give either 'model' or, in 'missing', why there is none.")
    if row.model is not None and row.model not in ARCHITECTURES:
        raise unknown_name(f"model in {where}:", row.model, ARCHITECTURES)
    return row


Kind = TypeVar("Kind", Column, Row, Protocol)
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, NoneType),
    "int | str": (int, str),
}


def _build(kind: type[Kind], found: dict[str, Any], where: str) -> Kind:
    """Return a dataclass from its entries, refusing unknown, missing and mistyped ones."""
    known = {field.name: str(field.type) for field in fields(kind)}
    for key, value in found.items():
        if key not in known:
            raise unknown_name(f"entry in {where}:", key, known)
        if not isinstance(value, _TYPES.get(known[key], (tuple,))):
            wanted = known[key].removesuffix(" | None").replace(" | ", " or ")
            raise ZooError(f"{where}: '{key}' must be {wanted}, not {value!r}.")
    try:
        return kind(**found)
    except TypeError as error:
        lacking = str(error).partition("argument")[2].lstrip("s: ")
        raise ZooError(f"{where}: an entry is missing: {lacking}.") from error


def _tables(found: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise ZooError(f"{where} must be a list of tables with at least one.")
    return found
