"""`python -m robnet_zoo.search robnet study`: a worker of a study; start as many as you like."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.extras import import_extra
from robnet_zoo.runtime.options import override
from robnet_zoo.search.robnet.command import CANDIDATES, add_worker, patience_from
from robnet_zoo.search.robnet.recipe import STUDY_SETTINGS, RobNetRecipe
from robnet_zoo.search.run.command import add_settings, changes_from


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("--supernet", type=Path, required=True, metavar="DIR", help="folder of a trained supernet")
    add_settings(parser, RobNetRecipe, CANDIDATES)
    add_worker(parser)
    add("--retry-failed", action="store_true", help="judge the candidates again that have failed")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")
    add("--out", type=Path, help="the study's folder (default: the supernet's)")


def run(options: argparse.Namespace) -> None:
    """Judge candidates with any other workers until all are judged, and write the results."""
    patience = patience_from(options)
    import_extra("optuna", "RobNet's search", "search")  # before others import it
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.robnet.stages import study, supernet_recipe
    from robnet_zoo.search.run.data import load_search_data

    trained = supernet_recipe(options.supernet)
    fixed = vars(trained).keys() - set(STUDY_SETTINGS)
    recipe = override(trained, changes_from(options, list(CANDIDATES)), fixed=fixed)
    processes = ProcessGroup(device=pick_device(options.device))
    study(
        recipe,
        load_search_data(recipe, streams=("weights",), processes=processes, root=options.data),
        options.supernet,
        options.out or options.supernet,
        storage=options.storage,
        patience=patience,
        retry=options.retry_failed,
    )
