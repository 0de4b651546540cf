"""`python -m robnet_zoo.search compare`: cells trained under one recipe and attacked alike."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.options import read_pairs
from robnet_zoo.threat_models import GRADIENT_NORMS
from robnet_zoo.train.recipes import get_recipe, override
from robnet_zoo.train.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("cells", nargs="+", metavar="CELL", help="racl, pc_darts, ... or cells:FILE.json")
    add("--out", type=Path, required=True, help="folder; cells that are done there are kept")
    add("--dataset", default="digits", help="digits (default), cifar10, ..., arrays:FILE.npz")
    add("--threat-model", help="row of the table of threat models; arrays need one")
    add("--eps", help="size of the perturbation, such as 0.1, instead of the threat model's")
    add("--recipe", default="digits", help="training recipe (default digits)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of it")
    add("--epochs", type=int, help="passes over the training images")
    add("--channels", type=int, default=8, help="width of the networks (default 8)")
    add("--layers", type=int, default=8, help="their number of cells (default 8)")
    add("--seed", type=int, default=0, help="of weights, order and noise (default 0)")
    add("--attack", default="pgd20,pgd100", help="one or several (default pgd20,pgd100)")
    add("--n", type=int, help="judge the first N test images (default: all)")
    add("--certify", type=int, metavar="N", help="also certify the first N test images")
    add("--certify-norms", default="", help="of radii, beside the threat model's: Linf,L2")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")


def run(options: argparse.Namespace) -> int:
    """Train and attack every cell, certify it if asked for, then write tables and charts."""
    if options.certify is not None and options.certify < 2:
        raise ZooError(f"--certify {options.certify} is too few; averages take 2 images or more.")
    changes = read_pairs(options.set)
    if options.epochs is not None:
        changes["epochs"] = str(options.epochs)
    recipe = override(get_recipe(options.recipe), changes)
    settings = [
        Settings(
            model=cell,
            dataset=options.dataset,
            recipe=recipe,
            channels=options.channels,
            layers=options.layers,
            seed=options.seed,
            threat_model=options.threat_model,
            epsilon=options.eps,
        )
        for cell in options.cells
    ]
    norms = tuple(filter(None, options.certify_norms.split(",")))
    for norm in norms:
        if norm not in GRADIENT_NORMS:
            raise unknown_name("norm", norm, GRADIENT_NORMS)
    attacks, device = tuple(options.attack.split(",")), pick_device(options.device)
    from robnet_zoo.runtime.signals import Stopped
    from robnet_zoo.search.compare.judge import Comparison, compare
    from robnet_zoo.search.compare.table import PAGE

    comparison = Comparison(
        options.out,
        attacks,
        options.n,
        options.certify,
        options.seed,
        device,
        options.data,
        norms,
    )
    try:
        compare(settings, comparison)
    except Stopped as stopped:
        print(f"stopped; the same command goes on in {options.out}", file=sys.stderr)
        return 128 + stopped.number
    print((options.out / PAGE).read_text(encoding="utf-8"), end="")
    return 0
