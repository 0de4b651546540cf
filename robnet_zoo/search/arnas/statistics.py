"""Which operations each cell type chooses over many searches (the paper's Figure 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.runtime.files import atomic_path, write_text
from robnet_zoo.search.core.spaces import ARNAS_OPERATIONS

CHOICES, FIGURE = "choices.csv", "choices.png"
ROLES = ("accurate", "robust", "reduce")


def count_choices(genotypes: Sequence[CellGenotype]) -> dict[str, dict[str, int]]:
    """Return how often each cell type chose each operation, over all edges of all genotypes."""
    counts = {}
    for role in ROLES:
        chosen = Counter(op for one in genotypes for op, _ in one.cells[role].edges)
        counts[role] = {operation: chosen[operation] for operation in ARNAS_OPERATIONS}
    return counts


def write_statistics(folder: Path, genotypes: Sequence[CellGenotype]) -> None:
    """Write choices.csv and choices.png."""
    counts = count_choices(genotypes)
    lines = ["cell,operation,count,share"]
    for role, chosen in counts.items():
        total = sum(chosen.values())
        lines += [f"{role},{name},{count},{count / total:.4f}" for name, count in chosen.items()]
    write_text(folder / CHOICES, "\n".join(lines) + "\n")
    _draw(folder / FIGURE, counts, len(genotypes))


def _draw(path: Path, counts: Mapping[str, Mapping[str, int]], searches: int) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for offset, (role, chosen) in zip((-0.27, 0.0, 0.27), counts.items(), strict=True):
        places = [place + offset for place in range(len(chosen))]
        axes.bar(places, list(chosen.values()), width=0.25, label=f"{role} cell")
    axes.set_xticks(range(len(ARNAS_OPERATIONS)), ARNAS_OPERATIONS, rotation=20)
    axes.set(ylabel="times chosen", title=f"Operations chosen in {searches} searches")
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
