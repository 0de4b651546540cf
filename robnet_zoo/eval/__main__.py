"""python -m robnet_zoo.eval: judge a model of the zoo under attacks."""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo import console, files
from robnet_zoo.environment import pick_device
from robnet_zoo.errors import ZooError
from robnet_zoo.threat_models import ThreatModel, get_threat_model

if TYPE_CHECKING:
    from robnet_zoo.data import Dataset
    from robnet_zoo.eval.attacks import Suite
    from robnet_zoo.eval.blocks import Attack
    from robnet_zoo.weights import Weights

EPILOG = """\
attacks: fgsm, bim, pgdN (such as pgd100), mifgsm, deepfool, cw, apgd-ce, apgd-t, fab-t, square,
autoattack, autoattack-rand; bimN and mifgsmN take N steps too.

examples:
  python -m robnet_zoo.eval --model racl --attack pgd100
  python -m robnet_zoo.eval --model racl.cifar10 --attack fgsm,pgd20,autoattack --n 1000 --resume
  torchrun --nproc-per-node 4 -m robnet_zoo.eval --model racl.cifar10 --attack autoattack
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m robnet_zoo.eval",
        description="Judge a model under attacks: clean and robust accuracy, and a JSON record.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, help="racl, racl.digits, local-dir:DIR or hf-hub:org/name")
    add("--weights", help="tag of the weights or their folder (default: the model's own)")
    add("--attack", required=True, help="one attack or several, with commas between them")
    add("--dataset", help="data set, or arrays:FILE.npz (default: what the weights know)")
    add("--data", type=Path, help="folder of the data sets (default: $ROBNET_ZOO_DATA)")
    add("--split", default="test", help="train, validation or test (default: test)")
    add("--threat-model", help="row of the threat-model table (default: the weights' own)")
    add("--eps", help="size of the perturbation, such as 8/255, instead of the threat model's")
    add("--norm", choices=("Linf", "L2"), help="instead of the threat model's norm")
    add("--n", type=int, help="judge the first N images (default: all)")
    add("--restarts", type=int, help="independent runs of attacks that start at random")
    add("--targeted", action="store_true", help="aim at a random other class of each image")
    add(
        "--early-exit",
        action="store_true",
        help="leave images alone once broken: faster, without the last iterate's accuracy",
    )
    add("--batch-size", type=int, default=256, help="images in a forward pass (default: 256)")
    add("--device", default="auto", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--seed", type=int, default=0, help="of all randomness (default: 0)")
    add("--out", type=Path, help="the record (default: runs/eval/MODEL-ATTACKS.json)")
    add("--resume", action="store_true", help="go on where an interrupted evaluation stopped")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = build_parser().parse_args(argv)
    return console.run(lambda: _evaluate(arguments))


def _evaluate(arguments: argparse.Namespace) -> None:
    from robnet_zoo.data import load_split
    from robnet_zoo.eval.runner import evaluate
    from robnet_zoo.eval.show import show, show_path
    from robnet_zoo.eval.subject import About
    from robnet_zoo.zoo import create_model, get_weights

    attacks = _attacks(arguments)
    if arguments.weights == "none":
        raise ZooError(
            f"An untrained {arguments.model} has nothing to judge; leave out --weights none, or "
            f"train it first: python -m robnet_zoo.train --model {arguments.model}."
        )
    weights = get_weights(arguments.model, arguments.weights)
    out = arguments.out or _default_out(weights.name, arguments.attack)
    files.check_writable(out)
    device = _device(arguments.device)
    dataset, split = load_split(
        arguments.dataset or weights.dataset,
        arguments.split,
        root=arguments.data,
        threat_model=arguments.threat_model,
    )
    _refuse_misfit(weights, dataset)
    threat_model = _threat_model(arguments, weights, dataset)
    model = create_model(arguments.model, weights=arguments.weights, pretrained=True)
    report = evaluate(
        model.to(device),
        split,
        attacks,
        threat_model,
        n=arguments.n,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        out=out,
        resume=arguments.resume,
        about=About(
            model=weights.name,
            architecture=weights.architecture,
            arguments=dict(weights.arguments),
            weights=weights.name,
            weights_file_sha256=weights.sha256,
            genotype_status=weights.genotype_status,
            data=dataset.name,
            split=arguments.split,
            class_names=dataset.class_names,
        ),
        quiet=False,
    )
    if os.environ.get("RANK", "0") == "0":
        show(report)
        show_path(out)


def _attacks(arguments: argparse.Namespace) -> list[Attack | Suite]:
    from robnet_zoo.eval.attacks import get_attack
    from robnet_zoo.eval.gradient import GradientAttack

    changes = {"restarts": arguments.restarts, "targeted": arguments.targeted or None}
    asked = {key: value for key, value in changes.items() if value is not None}
    attacks = [get_attack(name.strip(), **asked) for name in arguments.attack.split(",")]
    return [
        replace(attack, early_exit=arguments.early_exit)
        if isinstance(attack, GradientAttack)
        else attack
        for attack in attacks
    ]


def _threat_model(arguments: argparse.Namespace, weights: Weights, dataset: Dataset) -> ThreatModel:
    """Return the row asked for, the one the weights were trained for, or the data set's."""
    base = dataset.threat_model
    if arguments.threat_model is None and dataset.name == weights.dataset:
        trained = weights.threat_model
        base = get_threat_model(trained["name"])
        if (trained["norm"], str(trained["epsilon"])) != (base.norm, base.epsilon.text):
            base = base.at(trained["epsilon"], trained["norm"])
    norm = arguments.norm or base.norm
    if norm != base.norm and arguments.eps is None:
        raise ZooError(
            f"--norm {norm} needs --eps: epsilon {base.epsilon.text} of threat model "
            f"{base.name} is a size in {base.norm}."
        )
    return base if arguments.eps is None else base.at(arguments.eps, norm)


def _refuse_misfit(weights: Weights, dataset: Dataset) -> None:
    takes = weights.arguments.get("in_channels", 3), weights.arguments.get("num_classes", 10)
    if takes != (dataset.in_channels, dataset.num_classes):
        raise ZooError(
            f"{weights.name} takes images of {takes[0]} channel(s) and knows {takes[1]} classes; "
            f"{dataset.name} has {dataset.in_channels} and {dataset.num_classes}: "
            f"use --dataset {weights.dataset}."
        )


def _device(name: str) -> str:
    """Return the device; of several GPUs, each process that torchrun starts takes its own."""
    device = pick_device(name)
    return (
        f"cuda:{os.environ['LOCAL_RANK']}"
        if device == "cuda" and "LOCAL_RANK" in os.environ
        else device
    )


def _default_out(model: str, attacks: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{model}-{attacks.replace(',', '+')}")
    return Path("runs") / "eval" / f"{name}.json"


if __name__ == "__main__":
    sys.exit(main())
