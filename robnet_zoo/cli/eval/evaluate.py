"""`robnet-zoo eval`: a model under attacks, or one table of the papers."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, get_args

from robnet_zoo.attacks.registry import ATTACKS
from robnet_zoo.cli.eval import adaptive, certify, protocol
from robnet_zoo.cli.options import (
    add_model_options,
    add_target_options,
    default_record,
    named_model,
    print_written,
    target_options,
)
from robnet_zoo.runtime.environment import Compile
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable
from robnet_zoo.zoo import protocols

if TYPE_CHECKING:
    from robnet_zoo.attacks.base import Attack, Suite
    from robnet_zoo.eval.record import EvaluationRecord
    from robnet_zoo.eval.target import EvalTarget

EPILOG = """\
attacks:
{attacks}

protocols, run on the weights that are here (--weights names a folder with more) into the folder
--out:
{protocols}

examples:
  python -m robnet_zoo.eval --model racl.digits --attack pgd100
  python -m robnet_zoo.eval --protocol robnet-table1
  python -m robnet_zoo.eval --model racl.cifar10 --attack fgsm,pgd20,autoattack --n 1000 --resume
  python -m robnet_zoo.eval --model net.py:build --dataset cifar10 --mean cifar10 --attack pgd100
  python -m robnet_zoo.eval --model timm:resnet18 --weights best.safetensors --dataset cifar10 \\
    --mean imagenet --attack pgd100
  python -m robnet_zoo.eval --model net.py:build --dataset arrays:own.npz --norm L2 --eps 0.5 \\
    --attack pgd100
  torchrun --nproc-per-node 4 -m robnet_zoo.eval --model racl.cifar10 --attack autoattack
"""
FAILED_CHECK = 3  # exit code of --strict


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Judge a model under attacks: clean and robust accuracy, and a JSON record."
    )
    names = fill(", ".join(protocols.names()) + ".", width=98, break_on_hyphens=False)
    parser.epilog = EPILOG.format(attacks=_attack_list(), protocols=names)
    add = parser.add_argument
    add_model_options(parser)
    add("--attack", help="one attack or several, with commas between them")
    add("--protocol", help="in place of --model and --attack: one table of the papers, below")
    add_target_options(parser)
    add("--restarts", type=int, help="independent runs of attacks that start at random")
    add(
        "--targeted",
        action="store_true",
        help="aim at a random other class (pgd20-targeted)",
    )
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
    add("--save-images", type=Path, metavar="FILE.npz", help="adversarial images, for eval verify")
    add("--html", type=Path, help="a page with tables, plots and adversarial images too")
    add("--strict", action="store_true", help="exit with 3 if a check fails (docs/trust.md)")
    add(
        "--resume",
        action="store_true",
        help="go on where an interrupted evaluation stopped, or add attacks to a finished record",
    )
    adaptive.add_adaptive_options(parser)


def run(options: argparse.Namespace) -> int:
    """Evaluate, show and record; return 3 where --strict was given and a check fails."""
    if options.protocol is not None:
        return protocol.run(options)
    if options.model is None or options.attack is None:
        raise ZooError("Give --model and --attack, or --protocol.")
    if "certify" in re.split(r"\s*,\s*", options.attack):
        return _certify(options)
    from robnet_zoo.eval.evaluation import evaluate
    from robnet_zoo.eval.reports.terminal import show, show_path
    from robnet_zoo.eval.target import load_target
    from robnet_zoo.runtime.distributed import is_main_process

    attacks = _attacks(options)
    model = named_model(options)
    names = ",".join(attack.name for attack in attacks)
    out = options.out or default_record(model.name, names)
    for path in (out, options.html):
        if path is not None:
            check_writable(path)
    judged_on = target_options(options)
    target = load_target(model, judged_on)
    record = evaluate(
        target.model,
        target.split,
        attacks,
        target.threat_model,
        n=judged_on.n,
        seed=judged_on.seed,
        batch_size=judged_on.batch_size,
        compile=options.compile,
        out=out,
        resume=options.resume,
        save_images=options.save_images,
        quiet=False,
        **adaptive.adaptive_options(options, target),
    )
    if is_main_process():
        show(record)
        show_path(out)
        if options.save_images is not None:
            print_written([options.save_images])
        if options.html is not None:
            _write_page(options.html, record, target)
    return FAILED_CHECK if options.strict and record.failed_checks else 0


def _attack_list() -> str:
    width = max(len(row.usage) for row in ATTACKS.values())
    return "\n".join(f"  {row.usage:{width}}  {row.about}" for row in ATTACKS.values())


def _attacks(options: argparse.Namespace) -> list[Attack | Suite]:
    from robnet_zoo.attacks.base import changed
    from robnet_zoo.eval.attack_names import named_attack

    changes = {
        "restarts": options.restarts,
        "targeted": options.targeted or None,
        "mean": options.mean,
        "std": options.std,
    }
    asked = {key: value for key, value in changes.items() if value is not None}
    attacks = [named_attack(name.strip(), **asked) for name in options.attack.split(",")]
    return [
        changed(attack, {"early_exit": True})
        if options.early_exit and hasattr(attack, "early_exit")
        else attack
        for attack in attacks
    ]


def _write_page(path: Path, record: EvaluationRecord, target: EvalTarget) -> None:
    from robnet_zoo.eval.reports import html
    from robnet_zoo.eval.reports.examples import examples

    html.write(path, [record], [], lambda one: examples(one, target.model, target.split))
    print_written([path])


def _certify(options: argparse.Namespace) -> int:
    """Run `eval certify` under its older spelling, `--attack certify`."""
    if options.attack != "certify":
        raise ZooError(f"certify stands alone, not in '{options.attack}'; it runs pgd20 too.")
    for option in ("restarts", "targeted", "early_exit", "html", "save_images", *adaptive.NAMES):
        if getattr(options, option):
            raise ZooError(f"--{option.replace('_', '-')} does not go with --attack certify.")
    own = {"method": None, "precision": None, "radii": certify.RADII}
    return certify.run(argparse.Namespace(**{**vars(options), **own}))
