"""`python -m robnet_zoo.search robnet`: the whole method, from supernet to genotype."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from robnet_zoo.runtime.options import parse_duration
from robnet_zoo.search.robnet.recipe import RECIPES
from robnet_zoo.search.run.command import add_common, in_processes, recipe_from

if TYPE_CHECKING:
    from robnet_zoo.search.run.data import SearchData

CANDIDATES = ("architectures", "budget", "parameters")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("--space", choices=["cell", "free"], help="one code for all cells or each")
    add_candidates(parser)
    add_common(parser, RECIPES)
    parser.add_argument(
        "--supernet-only", action="store_true", help="stop before the study of architectures"
    )


def add_candidates(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is studied, and how workers meet."""
    add = parser.add_argument
    add("--architectures", type=int, metavar="K", help="candidates to fine-tune and score")
    add("--budget", choices=["any", "small", "medium", "large"], help="convolutions in a cell")
    add("--parameters", type=int, metavar="N", help="size of the candidates")
    add("--storage", metavar="URL", help="Optuna storage (default study.db in the folder)")
    add(
        "--patience",
        default="2m",
        metavar="TIME",
        help="without a sign of life, after which a worker's candidate is taken up (default 2m)",
    )


def given(options: argparse.Namespace, *names: str) -> list[str]:
    """Return options that were given as KEY=VALUE settings of the recipe."""
    values = {name: getattr(options, name) for name in names}
    return [f"{name}={value}" for name, value in values.items() if value is not None]


def run(options: argparse.Namespace) -> int:
    """Train the supernet, study architectures, and write genotype and figures into --out."""
    options.set = [*options.set, *given(options, "space", *CANDIDATES)]
    recipe = recipe_from(options, RECIPES)
    save_every, patience = parse_duration(options.save_every), parse_duration(options.patience)
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.search.robnet.stages import study, train_supernet
    from robnet_zoo.search.run.data import load_search_data

    def load(processes: ProcessGroup) -> SearchData:
        return load_search_data(
            recipe, streams=("weights",), processes=processes, root=options.data
        )

    def body(processes: ProcessGroup) -> None:
        train_supernet(
            recipe, load(processes), options.out, resume=options.resume, save_every=save_every
        )
        if not options.supernet_only:  # from here on every process is a worker of its own
            study(
                recipe,
                load(ProcessGroup(device=processes.device)),
                options.out,
                options.out,
                storage=options.storage,
                patience=int(patience),
            )

    return in_processes(options, body)
