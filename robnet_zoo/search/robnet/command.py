"""`python -m robnet_zoo.search robnet`: the whole method, from supernet to genotype."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.extras import import_extra
from robnet_zoo.runtime.options import parse_duration
from robnet_zoo.search.robnet.recipe import RECIPES
from robnet_zoo.search.run.command import (
    add_options,
    end_smoke,
    in_processes,
    paths_from,
    recipe_from,
)

if TYPE_CHECKING:
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.run.data import SearchData

LEAST_PATIENCE = 6  # seconds
CANDIDATES = {  # settings of a study that have options
    "architectures": "candidates to fine-tune and score",
    "budget": "convolutions in a cell",
    "parameters": "size of the candidates",
}
SETTINGS = {"space": "one code for all cells or each", **CANDIDATES}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_options(parser, RECIPES, SETTINGS)
    add_worker(parser)
    parser.add_argument(
        "--supernet-only", action="store_true", help="stop before the study of architectures"
    )


def add_worker(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the workers of a study meet."""
    add = parser.add_argument
    add(
        "--storage",
        metavar="URL",
        help="where workers meet: a database's URL, or journal:FILE (default study.db in the "
        "folder)",
    )
    add(
        "--patience",
        default="2m",
        metavar="TIME",
        help="without a heartbeat, after which a worker's candidate is taken up (default 2m)",
    )


def patience_from(options: argparse.Namespace) -> int:
    """Return the seconds of --patience.

    Raises:
        ZooError: too few for heartbeats.
    """
    patience = int(parse_duration(options.patience))
    if patience < LEAST_PATIENCE:
        raise ZooError(
            f"--patience {options.patience} is too short for heartbeats, which come once a second "
            f"at most; give {LEAST_PATIENCE}s or more."
        )
    return patience


def run(options: argparse.Namespace) -> int:
    """Train the supernet, study architectures, and write genotype and figures into --out."""
    recipe, paths = recipe_from(options, RECIPES, SETTINGS), paths_from(options)
    patience, storage = patience_from(options), options.storage
    supernet_only = options.supernet_only
    import_extra("optuna", "RobNet's search", "search")  # before others import it
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.robnet.stages import check_size, study, train_supernet
    from robnet_zoo.search.run.data import load_search_data

    def load(processes: ProcessGroup) -> SearchData:
        return load_search_data(recipe, streams=("weights",), processes=processes, root=paths.root)

    def body(processes: ProcessGroup) -> None:
        data = load(processes)
        check_size(recipe, data)
        train_supernet(recipe, data, paths)
        if not supernet_only:  # from here on every process is a worker of its own
            data = load(ProcessGroup(device=processes.device))
            study(recipe, data, paths.folder, paths.folder, storage=storage, patience=patience)
            end_smoke(options, processes)

    return in_processes(options.device, paths.folder, body)
