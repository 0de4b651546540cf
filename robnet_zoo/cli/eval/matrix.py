"""`robnet-zoo eval matrix`: every model under what an attack makes on every other."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.options import add_target_options, names_in, print_written, target_options
from robnet_zoo.runtime.files import check_writable


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Judge models under the adversarial images of each other: matrix.csv, matrix.png and\n"
        "matrix.json, with each model's white-box accuracy on the diagonal."
    )
    add = parser.add_argument
    add("--models", required=True, help="two models or more, with commas between them")
    add("--attack", default="pgd10", help="fgsm, bimN, pgdN, mifgsmN, torchattacks:NAME (pgd10)")
    add_target_options(parser)
    add("--out", type=Path, default=Path("runs/eval/matrix"), help="folder (runs/eval/matrix)")


def run(options: argparse.Namespace) -> None:
    """Judge the models, and write and print the matrix."""
    from robnet_zoo.attacks.methods.transfer import transferable
    from robnet_zoo.attacks.registry import get_attack
    from robnet_zoo.eval.studies import transfer_matrix
    from robnet_zoo.eval.target import load_target

    attack = transferable(get_attack(options.attack))
    judged_on = target_options(options)
    check_writable(options.out / "matrix.json")
    matrix = transfer_matrix.transfer_matrix(
        [load_target(name, judged_on) for name in names_in(options.models)],
        attack,
        n=judged_on.n,
        seed=judged_on.seed,
        batch_size=judged_on.batch_size,
        quiet=False,
    )
    transfer_matrix.write(matrix, options.out)
    print((options.out / "matrix.csv").read_text(encoding="utf-8"), end="")
    print_written(options.out / f"matrix.{kind}" for kind in ("csv", "png", "json"))
