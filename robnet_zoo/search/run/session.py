"""A search from its recipe to its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.runtime.checkpoint import LAST
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.files import check_writable
from robnet_zoo.search.core.differentiable import DifferentiableSearch
from robnet_zoo.search.run.artifacts import GENOTYPE, finish
from robnet_zoo.search.run.data import SearchData, load_search_data
from robnet_zoo.search.run.loop import SAVE_EVERY, run_search
from robnet_zoo.search.run.recipe import SearchRecipe


@dataclass(frozen=True)
class RunPaths:
    """Where a search reads and writes.

    Attributes:
        folder: its files.
        root: folder of the data sets; None for the usual ones.
        resume: go on from the folder's checkpoint.
        save_every: seconds between checkpoints within an epoch.
    """

    folder: Path
    root: Path | None = None
    resume: bool = False
    save_every: float = SAVE_EVERY

    def inside(self, name: str) -> RunPaths:
        """Return the paths of one search of many, which resumes if it ever began."""
        folder = self.folder / name
        resume = self.resume and (folder / LAST).exists()
        return dataclasses.replace(self, folder=folder, resume=resume)


# (recipe, data) -> the search at its start
BuildSearch = Callable[[Any, SearchData], DifferentiableSearch[Any]]


def run_to_files(
    build: BuildSearch,
    recipe: SearchRecipe,
    paths: RunPaths,
    processes: ProcessGroup,
    name: str | None = None,
) -> CellGenotype:
    """Run a search, write its genotype, drawings, log and record, and return the genotype.

    Args:
        build: makes the search.
        recipe: its settings.
        paths: where it reads and writes.
        processes: this process among those that search together.
        name: of the genotype; the search's own if None.

    Raises:
        Stopped: the process was asked to stop and has saved its work.
        ZooError: missing data, or a folder that holds another search.
    """
    check_writable(paths.folder / GENOTYPE)
    data = load_search_data(recipe, processes=processes, root=paths.root)
    search = build(recipe, data)
    rows = run_search(
        search, data, recipe, paths.folder, resume=paths.resume, save_every=paths.save_every
    )
    genotype = search.genotype(name or search.genotype_name)
    if processes.main:
        findings = {"lead": search.leads(), **search.findings(rows)}
        finish(paths.folder, search.algorithm, recipe, data, genotype, rows, findings)
        search.write_figures(paths.folder, rows, genotype)
        print(f"{paths.folder}: {genotype.name} after {rows[-1]['seconds']:.0f} s")
    return genotype
