"""Cells whose accuracy after adversarial training is known: Tiny-RobustBench (ICLR 2025)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from robnet_zoo.genotypes import Cell, CellGenotype
from robnet_zoo.genotypes.types import Edge
from robnet_zoo.runtime.decode import read_json
from robnet_zoo.runtime.errors import unknown_name
from robnet_zoo.zoo.architectures import ARCHITECTURES

FILE = Path(__file__).with_name("tiny_robustbench.json")
CONCAT = (2, 3, 4, 5)


class TrainedCell(Struct, frozen=True, forbid_unknown_fields=True):
    """A cell and its test accuracies in percent, at the best epoch and at the last one.

    The best epoch was chosen on the test images.
    """

    normal: tuple[Edge, ...]
    reduce: tuple[Edge, ...]
    clean_best: float
    robust_best: float
    clean_last: float
    robust_last: float


class Benchmark(Struct, frozen=True, forbid_unknown_fields=True):
    """Cells that were trained alike.

    Attributes:
        name: of the collection.
        paper: where it was published.
        repository, commit: where its figures lie.
        note: what the figures are.
        training: how all cells were trained.
        channels, layers: of the networks.
        cells: with what they came to.
    """

    name: str
    paper: str
    repository: str
    commit: str
    note: str
    training: str
    channels: int
    layers: int
    cells: tuple[TrainedCell, ...]

    def genotypes(self) -> dict[str, CellGenotype]:
        """Return the cells as genotypes, by names that hold their positions."""
        return {
            f"random-{number:03d}": CellGenotype(
                f"random-{number:03d}",
                "published",
                self.paper,
                {"normal": Cell(cell.normal, CONCAT), "reduce": Cell(cell.reduce, CONCAT)},
            )
            for number, cell in enumerate(self.cells)
        }


@lru_cache(maxsize=1)
def tiny_robustbench() -> Benchmark:
    """Return the 223 random cells of the DARTS space that Tiny-RobustBench trained."""
    return read_json(FILE, Benchmark, "Tiny-RobustBench")


def cells_of_the_zoo() -> dict[str, CellGenotype]:
    """Return the zoo's genotypes of two-edge cells, by name."""
    genotypes = {row.name: row.read_genotype() for row in ARCHITECTURES.values()}
    return {
        name: genotype
        for name, genotype in genotypes.items()
        if isinstance(genotype, CellGenotype) and genotype.name == name  # variants have its cells
    }


def cells_named(names: str) -> dict[str, CellGenotype]:
    """Return some of them, for names with commas between them.

    Raises:
        ZooError: there is no such cell.
    """
    known = cells_of_the_zoo()
    asked = [name for name in names.split(",") if name]
    for name in asked:
        if name not in known:
            raise unknown_name("cell", name, known)
    return {name: known[name] for name in asked}
