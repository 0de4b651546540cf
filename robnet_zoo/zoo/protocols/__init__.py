"""The papers' tables as data: columns, rows and published numbers, from the .toml files here.

A file has the settings that all its columns have in common, one column for each number of the
table and one row for each network:

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

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from robnet_zoo.runtime.decode import read_toml
from robnet_zoo.runtime.errors import unknown_name
from robnet_zoo.threat_models import Norm
from robnet_zoo.zoo.architectures import ARCHITECTURES

FOLDER = Path(__file__).parent
CLEAN = "clean"  # the column of a table that is under no attack
DATA_TITLES = {"cifar10": "CIFAR-10"}  # as papers write them
Percent = Annotated[float, Meta(ge=0, le=100)]


class Column(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one column of a table is measured.

    Attributes:
        name: as in the table.
        attack: "clean", or an attack of the harness.
        origin: the model whose adversarial images are transferred (`from` in the file): a name
            of the zoo, or "copy" for a separately trained copy of the row's own model.
        dataset: the column's data set, where columns differ in it.
        weights: which weights of the row's model, such as "natural" for those trained without
            adversarial images; the adversarially trained ones if None.
        epsilon, norm: where they are not the table's and Linf.
        step: of the attack as a part of epsilon, where it is not the threat model's.
    """

    name: str
    attack: str
    origin: str | None = field(name="from", default=None)
    dataset: str | None = None
    weights: str | None = None
    epsilon: str | None = None
    norm: Norm | None = None
    step: str | None = None


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One network of a table.

    Attributes:
        name: as in the table.
        values: as in the file, where they are called `published`.
        model: the zoo's name for it.
        weights: which weights, as for columns.
        missing: why the zoo cannot measure it, instead of `model`.
        parameters: in millions, where the paper gives them.
    """

    name: str
    values: tuple[Percent | Literal["-"], ...] = field(name="published")
    model: str | None = None
    weights: str | None = None
    missing: str | None = None
    parameters: Annotated[float, Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        if (self.model is None) == (self.missing is None):
            raise ValueError(
                f"row '{self.name}': give either 'model' or, in 'missing', why there is none"
            )

    @property
    def published(self) -> tuple[float | None, ...]:
        """Percent, one number a column; None where the paper gives none."""
        return tuple(None if value == "-" else value for value in self.values)


class Protocol(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of a paper; `name` is its file's."""

    name: str = ""
    title: str
    source: str
    training: str
    dataset: str
    epsilon: str
    images: Annotated[int, Meta(ge=1)] | str
    columns: Annotated[tuple[Column, ...], Meta(min_length=1)]
    rows: Annotated[tuple[Row, ...], Meta(min_length=1)]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(
                    f"row '{row.name}': 'published' must hold {len(self.columns)} values, one a "
                    "column"
                )

    @property
    def table(self) -> str:
        """The paper and its table, such as "RobNet, Table 1"."""
        return self.title.partition(":")[0]


def names() -> list[str]:
    """Return the names of all protocols."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
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
    protocol = replace(read_toml(path, Protocol, "protocol"), name=path.stem)
    for row in protocol.rows:
        if row.model is not None and row.model not in ARCHITECTURES:
            what = f"model in '{path.name}', row '{row.name}':"
            raise unknown_name(what, row.model, ARCHITECTURES)
    return protocol


def published(model: str) -> list[tuple[Protocol, Row]]:
    """Return the rows of all tables that hold a number for a model."""
    return [
        (protocol, row)
        for protocol in map(load, names())
        for row in protocol.rows
        if row.model == model and any(value is not None for value in row.published)
    ]


def published_text(model: str) -> list[str]:
    """Return a model's published numbers under white-box attacks: a line to read for each table.

    Tables of transferred images, of other data sets and of variants of a model are left out.
    """
    return [
        f"{protocol.table}, {DATA_TITLES.get(protocol.dataset, protocol.dataset)}, "
        f"Linf {protocol.epsilon}: {', '.join(_numbers(protocol, row))}"
        for protocol, row in published(model)
        if row.weights is None
        and not any(column.origin or column.dataset for column in protocol.columns)
    ]


def _numbers(protocol: Protocol, row: Row) -> list[str]:
    size = [] if row.parameters is None else [f"{row.parameters} M"]
    pairs = zip(protocol.columns, row.published, strict=True)
    return size + [f"{value:.2f} {column.name}" for column, value in pairs if value is not None]
