"""What the searches of an ablation chose: each cell's operations, counted."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from robnet_zoo.genotypes import Cell, CellGenotype, read_genotype
from robnet_zoo.plotting.cells import STYLES
from robnet_zoo.runtime.tables import HISTORY, markdown_table
from robnet_zoo.search.run.artifacts import GENOTYPE


def choices_table(searches: Path) -> str:
    """Return a line for each search: the operations of its cells, and its seconds.

    Args:
        searches: the folder with a folder for each.
    """
    genotypes = {
        path.parent.name: read_genotype(path) for path in sorted(searches.glob(f"*/{GENOTYPE}"))
    }
    cells = {name: each.cells for name, each in genotypes.items() if isinstance(each, CellGenotype)}
    roles = list(next(iter(cells.values())))
    header = ["search", *(f"{role} cell" for role in roles), "seconds"]
    rows = [
        [name, *(_counted(own[role]) for role in roles), _seconds(searches / name / HISTORY)]
        for name, own in cells.items()
    ]
    return markdown_table(header, rows, right=["seconds"])


def _counted(cell: Cell) -> str:
    counts = Counter(operation for operation, _ in cell.edges).most_common()
    return ", ".join(f"{count} {STYLES[operation][0]}" for operation, count in counts)


def _seconds(history: Path) -> str:
    with history.open(encoding="utf-8", newline="") as file:
        *_, last = csv.DictReader(file)
    return f"{float(last['seconds']):,.0f}"
