"""`python -m robnet_zoo.search robnet study`: a worker of a study; start as many as you like."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.options import override, parse_duration, read_pairs
from robnet_zoo.search.robnet.command import CANDIDATES, add_candidates, given
from robnet_zoo.search.robnet.recipe import STUDY_SETTINGS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("--supernet", type=Path, required=True, metavar="DIR", help="folder of a trained supernet")
    add_candidates(parser)
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change a study's setting")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")
    add("--out", type=Path, help="the study's folder (default: the supernet's)")


def run(options: argparse.Namespace) -> None:
    """Judge candidates with any other workers until all are judged, and write what was found."""
    patience = parse_duration(options.patience)
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.robnet.stages import study, supernet_recipe
    from robnet_zoo.search.run.data import load_search_data

    changes = read_pairs([*options.set, *given(options, *CANDIDATES)])
    trained = supernet_recipe(options.supernet)
    fixed = vars(trained).keys() - set(STUDY_SETTINGS)
    recipe = override(trained, changes, fixed=fixed)
    processes = ProcessGroup(device=pick_device(options.device))
    study(
        recipe,
        load_search_data(recipe, streams=("weights",), processes=processes, root=options.data),
        options.supernet,
        options.out or options.supernet,
        storage=options.storage,
        patience=int(patience),
    )
