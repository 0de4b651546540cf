"""python -m robnet_zoo.eval: judge a model of the zoo under attacks."""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from robnet_zoo.cli import eval_commands as commands
from robnet_zoo.cli.options import add_target_options, target_options
from robnet_zoo.eval.target import load_target
from robnet_zoo.runtime import console, files
from robnet_zoo.runtime.environment import Compile
from robnet_zoo.runtime.errors import ZooError

if TYPE_CHECKING:
    from robnet_zoo.attacks.base import Attack, Suite

EPILOG = """\
attacks: fgsm, bim, pgdN (such as pgd100), mifgsm, deepfool, cw, apgd-ce, apgd-t, fab-t, square,
autoattack, autoattack-rand; bimN and mifgsmN take N steps too; transfer:SOURCE:ATTACK shows the
model what ATTACK made on the model SOURCE. certify is none: it finds the radius within which the
class of each image is certain (small networks only; docs/search/dsrna.md).

further commands, each with its own --help:
  sweep      accuracy against epsilon and against iterations
  matrix     several models, each under what an attack makes on each of them
  figures    draw what records hold
  report     one self-contained HTML page from records
  tables     write the leaderboard and the README's tables from the records

protocols, run on the weights at hand (--weights names a folder with more) into the folder --out:
robnet-table1 to robnet-table4, racl-table1 to racl-table5, racl-figure3, arnas-whitebox,
arnas-blackbox, arnas-transfer, dsrna-game, advrush-whitebox.

examples:
  python -m robnet_zoo.eval --model racl.digits --attack pgd100
  python -m robnet_zoo.eval --protocol robnet-table1
  python -m robnet_zoo.eval --model racl.cifar10 --attack fgsm,pgd20,autoattack --n 1000 --resume
  torchrun --nproc-per-node 4 -m robnet_zoo.eval --model racl.cifar10 --attack autoattack
"""

FAILED_CHECK = 3  # exit code of --strict


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m robnet_zoo.eval",
        description="Judge a model under attacks: clean and robust accuracy, and a JSON record.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", help="racl, racl.digits, local-dir:DIR or hf-hub:org/name")
    add("--weights", help="tag of the weights or their folder (default: the model's own)")
    add("--attack", help="one attack or several, with commas between them")
    add("--protocol", help="in place of --model and --attack: one table of the papers, below")
    add_target_options(parser)
    add("--restarts", type=int, help="independent runs of attacks that start at random")
    add("--targeted", action="store_true", help="aim at a random other class of each image")
    add(
        "--early-exit",
        action="store_true",
        help="leave images alone once broken: faster, without the last iterate's accuracy",
    )
    add(
        "--compile",
        nargs="?",
        const="default",
        choices=get_args(Compile),
        help="compile what attacks see: minutes at the start, then faster (PyTorch's modes)",
    )
    add("--out", type=Path, help="the record (default: runs/eval/MODEL-ATTACKS.json)")
    add("--html", type=Path, help="a page with tables, plots and adversarial images too")
    add("--strict", action="store_true", help="exit with 3 if a check fails (docs/trust.md)")
    add("--resume", action="store_true", help="go on where an interrupted evaluation stopped")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in commands.NAMES:
        return commands.main(argv)
    arguments = build_parser().parse_args(argv)
    run = _evaluate if arguments.protocol is None else commands.run_protocol
    return console.run(lambda: run(arguments))


def _evaluate(arguments: argparse.Namespace) -> int:
    from robnet_zoo.eval.evaluation import evaluate
    from robnet_zoo.eval.reports.terminal import show, show_path
    from robnet_zoo.zoo.registry import get_weights

    if arguments.model is None or arguments.attack is None:
        raise ZooError("Give --model and --attack, or --protocol.")
    certifying = "certify" in re.split(r"\s*,\s*", arguments.attack)
    attacks = [] if certifying else _attacks(arguments)
    if arguments.weights == "none":
        raise ZooError(
            f"An untrained {arguments.model} has nothing to judge; leave out --weights none, or "
            f"train it first: python -m robnet_zoo.train --model {arguments.model}."
        )
    weights = get_weights(arguments.model, arguments.weights)
    out = arguments.out or _default_out(weights.name, arguments.attack)
    if certifying:
        _validate_certify(arguments, out)
    for path in (out, arguments.html):
        if path is not None:
            files.check_writable(path)
    options = target_options(arguments)
    target = load_target(weights, options)
    if certifying:
        from robnet_zoo.eval.studies import certify

        certify.run(target, options, out, resume=arguments.resume)
        return 0
    report = evaluate(
        target.model,
        target.split,
        attacks,
        target.threat_model,
        n=options.n,
        seed=options.seed,
        batch_size=options.batch_size,
        compile=arguments.compile,
        out=out,
        resume=arguments.resume,
        metadata=target.metadata,
        quiet=False,
    )
    if os.environ.get("RANK", "0") == "0":
        show(report)
        show_path(out)
        if arguments.html is not None:
            commands.write_page(arguments.html, report, target)
    failed = any(not check.passed for check in report.checks)
    return FAILED_CHECK if arguments.strict and failed else 0


def _validate_certify(arguments: argparse.Namespace, out: Path) -> None:
    """Refuse what does not go with --attack certify, and a record that is finished."""
    if arguments.attack != "certify":
        raise ZooError(f"certify stands alone, not in '{arguments.attack}'; it runs pgd20 too.")
    for option in ("restarts", "targeted", "early_exit", "html"):
        if getattr(arguments, option):
            raise ZooError(f"--{option.replace('_', '-')} does not go with --attack certify.")
    if arguments.resume and out.exists() and not out.with_name(f"{out.name}.parts").exists():
        raise ZooError(f"'{out}' is finished; leave out --resume to certify again.")


def _attacks(arguments: argparse.Namespace) -> list[Attack | Suite]:
    from robnet_zoo.attacks.gradient import GradientAttack
    from robnet_zoo.attacks.registry import get_attack

    changes = {"restarts": arguments.restarts, "targeted": arguments.targeted or None}
    asked = {key: value for key, value in changes.items() if value is not None}
    attacks = [get_attack(name.strip(), **asked) for name in arguments.attack.split(",")]
    return [
        replace(attack, early_exit=arguments.early_exit)
        if isinstance(attack, GradientAttack)
        else attack
        for attack in attacks
    ]


def _default_out(model: str, attacks: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{model}-{attacks.replace(',', '+')}")
    return Path("runs") / "eval" / f"{name}.json"
