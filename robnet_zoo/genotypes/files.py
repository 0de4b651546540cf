"""Genotypes read from JSON and written to it; those that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from robnet_zoo.genotypes.types import Genotype
from robnet_zoo.runtime.decode import convert, read_json
from robnet_zoo.runtime.errors import unknown_name

FOLDER = Path(__file__).parent


def read_genotype(path: str | Path) -> Genotype:
    """Read a genotype from a JSON file.

    Raises:
        ZooError: the file cannot be read, is not JSON or is not a genotype.
    """
    return read_json(Path(path), Genotype, "genotype file")  # type: ignore[arg-type]


def genotype_from_dict(value: Any) -> Genotype:
    """Return the genotype that a decoded JSON object describes.

    Raises:
        ZooError: the object is not a genotype, or names operations or states that do not exist.
    """
    return convert(value, Genotype, "genotype")  # type: ignore[arg-type]


def genotype_to_dict(genotype: Genotype) -> dict[str, Any]:
    """Return the JSON form of a genotype, which `genotype_from_dict` reads."""
    # Through JSON once: tuples become the lists that a reader of the file would see.
    return msgspec.json.decode(msgspec.json.encode(genotype))


def published_names() -> list[str]:
    """Return the names of the genotypes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def published(name: str) -> Genotype:
    """Return a genotype that comes with the package, such as "racl" or "robnet_free".

    Raises:
        ZooError: no such genotype; the nearest names are shown.
    """
    if name not in published_names():
        raise unknown_name("genotype", name, published_names())
    return read_genotype(FOLDER / f"{name}.json")
