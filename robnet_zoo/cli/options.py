"""Options that several commands share, and what they become below the command line."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.eval.target import BATCH_SIZE, EvalOptions, find_model
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import NORMS

if TYPE_CHECKING:
    from robnet_zoo.eval.external import ExternalModel
    from robnet_zoo.zoo.weights import Weights


def add_model_options(parser: ArgumentParser) -> None:
    """Add what `named_model` reads."""
    add = parser.add_argument
    add(
        "--model",
        help="racl, racl.digits, local-dir:DIR, hf-hub:org/name; or your own: FILE.py:NAME, "
        "timm:NAME, torchvision:NAME",
    )
    add(
        "--weights",
        help="tag of the weights or their folder (default: the model's own); of your own model, "
        "a file with its state dict",
    )


def named_model(arguments: Namespace) -> Weights | ExternalModel:
    """Return the weights of the zoo, or the user's own model, that the options name.

    Raises:
        ZooError: there are none of that name, or none were asked for.
    """
    if arguments.weights == "none":
        raise ZooError(
            f"An untrained {arguments.model} has nothing to judge; leave out --weights none, or "
            f"train it first: python -m robnet_zoo.train --model {arguments.model}."
        )
    return find_model(arguments.model, arguments.weights)


def default_record(model: str, attacks: str) -> Path:
    """Return where the record of an evaluation goes if nothing else is said."""
    name = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{model}-{attacks.replace(',', '+')}")
    return Path("runs") / "eval" / f"{name}.json"


def add_target_options(parser: ArgumentParser) -> None:
    """Add what `target_options` reads: the images and the threat model of an evaluation."""
    add = parser.add_argument
    add("--dataset", help="data set, or arrays:FILE.npz (default: the zoo's weights' own)")
    add("--data", type=Path, help="folder of the data sets (default: $ROBNET_ZOO_DATA)")
    add("--split", default="test", help="train, validation or test (default: test)")
    add("--threat-model", help="row of the threat-model table (default: the weights' own)")
    add("--eps", help="size of the perturbation, such as 8/255, instead of the threat model's")
    add("--norm", choices=NORMS, help="instead of the threat model's norm")
    add("--mean", help="subtracted inside your own model: 0.485,0.456,0.406, or a name: imagenet")
    add("--std", help="divided by, behind it; so that attacks see pixels in [0,1]")
    # torchrun takes --n for a beginning of its own options: --images says the same
    add("--n", "--images", type=int, metavar="N", help="judge the first N images (default: all)")
    add(
        "--batch-size", type=int, default=BATCH_SIZE, help="images in a forward pass (default: 256)"
    )
    add("--device", default="auto", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--seed", type=int, default=0, help="of all randomness (default: 0)")


def target_options(arguments: Namespace) -> EvalOptions:
    """Return the options that `add_target_options` added, from parsed arguments."""
    return EvalOptions(
        **{field.name: getattr(arguments, field.name) for field in fields(EvalOptions)}
    )


def names_in(text: str) -> list[str]:
    """Return the names in a list with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def print_written(paths: Iterable[Path]) -> None:
    """Print the files that a command wrote, a line each."""
    for path in paths:
        print(f"Written: {path}")
