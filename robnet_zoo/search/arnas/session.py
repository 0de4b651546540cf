"""One ARNAS search from its settings to its files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.runtime.checkpoint import LAST
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.files import check_writable
from robnet_zoo.search.arnas.recipe import ArnasRecipe
from robnet_zoo.search.arnas.search import ArnasSearch
from robnet_zoo.search.arnas.trace import draw_trace, efficient
from robnet_zoo.search.run.artifacts import finish
from robnet_zoo.search.run.data import load_search_data
from robnet_zoo.search.run.loop import run_search

TRACE = "trace.png"


@dataclass(frozen=True)
class RunPaths:
    """Where a search runs and writes.

    Attributes:
        folder: its files.
        processes: its processes and their device.
        root: folder of the data sets; None for the usual ones.
        resume: go on from a checkpoint.
        save_every: seconds between checkpoints.
    """

    folder: Path
    processes: ProcessGroup
    root: Path | None = None
    resume: bool = False
    save_every: float = 300.0

    def inside(self, name: str) -> RunPaths:
        """Return the place of one search of many, which resumes if it ever began."""
        folder = self.folder / name
        resume = self.resume and (folder / LAST).exists()
        return dataclasses.replace(self, folder=folder, resume=resume)


def search(recipe: ArnasRecipe, place: RunPaths) -> CellGenotype:
    """Run a search; write its genotype, drawings, log, trace and record, and return the genotype.

    Raises:
        Stopped: the process was asked to stop and has saved its work.
        ZooError: missing data, or a folder that holds another search.
    """
    check_writable(place.folder / TRACE)
    data = load_search_data(recipe, processes=place.processes, root=place.root)
    run = ArnasSearch(recipe, data)
    rows = run_search(
        run, data, recipe, place.folder, resume=place.resume, save_every=place.save_every
    )
    genotype = run.genotype(f"arnas-{data.dataset.name}-seed{recipe.seed}")
    if place.processes.main:
        found = {
            "supernet_parameters": sum(p.numel() for p in run.supernet.parameters()),
            "efficient_epochs": [rows[index]["epoch"] for index in efficient(rows)],
        }
        finish(place.folder, "arnas", recipe, data, genotype, rows, found)
        draw_trace(place.folder / TRACE, rows)
        print(f"{place.folder}: {genotype.name} after {rows[-1]['seconds']:.0f} s")
    return genotype
