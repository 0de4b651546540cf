"""Which operations each cell type chooses over many searches (the paper's Figure 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.plotting.style import PALETTE, canvas, save
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.tables import csv_table
from robnet_zoo.search.core.spaces import ARNAS_OPERATIONS

CHOICES, FIGURE = "choices.csv", "choices.png"
ROLES = ("accurate", "robust", "reduce")


def count_choices(genotypes: Sequence[CellGenotype]) -> dict[str, dict[str, int]]:
    """Return how often each cell type chose each operation, over all edges of all genotypes."""
    counts = {}
    for role in ROLES:
        chosen = Counter(
            operation for genotype in genotypes for operation, _ in genotype.cells[role].edges
        )
        counts[role] = {operation: chosen[operation] for operation in ARNAS_OPERATIONS}
    return counts


def write_statistics(folder: Path, genotypes: Sequence[CellGenotype]) -> None:
    """Write choices.csv and choices.png."""
    counts = count_choices(genotypes)
    rows = [
        (role, operation, count, f"{count / sum(chosen.values()):.4f}")
        for role, chosen in counts.items()
        for operation, count in chosen.items()
    ]
    write_text(folder / CHOICES, csv_table(("cell", "operation", "count", "share"), rows))
    _draw(folder / FIGURE, counts, len(genotypes))


def _draw(path: Path, counts: Mapping[str, Mapping[str, int]], searches: int) -> None:
    with canvas(8.4, 3.8, layout="constrained") as figure:
        axes = figure.subplots()
        for offset, colour, (role, chosen) in zip(
            (-0.27, 0.0, 0.27), PALETTE, counts.items(), strict=False
        ):
            places = [place + offset for place in range(len(chosen))]
            heights = list(chosen.values())
            axes.bar(places, heights, width=0.25, color=colour, label=f"{role} cell")
        axes.set_xticks(range(len(ARNAS_OPERATIONS)), ARNAS_OPERATIONS, rotation=20)
        axes.set(ylabel="times chosen", title=f"Operations chosen in {searches} searches")
        axes.grid(visible=False, axis="x")
        axes.legend()
    save(figure, path)
