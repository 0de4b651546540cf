"""`robnet-zoo eval diff`: why two evaluations of the same weights give other numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.cli.options import (
    add_model_options,
    add_target_options,
    named_model,
    print_written,
    target_options,
)
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable, write_json

if TYPE_CHECKING:
    from robnet_zoo.eval.studies.diff.explanation import Explanation
    from robnet_zoo.eval.studies.diff.script import Guesses

TOOLS = ("torchattacks", "foolbox", "pyautoattack")
EPILOG = """\
examples:
  python -m robnet_zoo.eval diff a.json b.json
  python -m robnet_zoo.eval diff --model racl.digits --attack pgd20 --tool torchattacks
  python -m robnet_zoo.eval diff --model racl.digits --attack pgd20 --tool foolbox \\
      --set steps=20 --set step_size=2/255
  python -m robnet_zoo.eval diff --model racl.digits --attack pgd20 --accuracy 81.3
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Name what makes two evaluations of the same weights differ. Either of two records; or of\n"
        "an attack of ours and the same one of another library, where settings of ours are given\n"
        "the library's values, and the fewest are named that make the verdicts agree; or of an\n"
        "attack of ours and the accuracy that your own script gives."
    )
    parser.epilog = EPILOG
    add = parser.add_argument
    add("records", type=Path, nargs="*", metavar="RECORD", help="two records of the same weights")
    add_model_options(parser)
    add("--attack", help="fgsm, bimN, pgdN, mifgsmN, apgd-ce or autoattack")
    add("--tool", choices=TOOLS, help="the library to compare with")
    add(
        "--accuracy",
        type=float,
        help="in place of --tool: what your own script gives, in percent, on the same images",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what the library is called with in place of its defaults: epsilon, step_size,\n"
        "steps, start",
    )
    add_target_options(parser)
    add("--list", action="store_true", help="of records: name the images that differ too")
    add("--out", type=Path, help="write the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Find the difference, show it, and write it where asked."""
    from robnet_zoo.runtime.decode import to_builtins

    if options.out is not None:
        check_writable(options.out)
    result = _records(options) if options.records else _attack(options)
    if options.out is not None:
        write_json(options.out, to_builtins(result))
        print_written([options.out])


def _records(options: argparse.Namespace) -> object:
    from robnet_zoo.eval import record
    from robnet_zoo.eval.reports.comparison import show
    from robnet_zoo.eval.studies.comparison import contrast

    others = options.model, options.attack, options.tool, options.accuracy
    if len(options.records) != 2 or any(it is not None for it in others):
        raise ZooError("Give two records and nothing else, or --model, --attack and --tool.")
    first, second = options.records
    contrasted = contrast(
        record.read(first), record.read(second), (str(first), str(second)), options.data
    )
    show(contrasted, images=options.list)
    return contrasted


def _attack(options: argparse.Namespace) -> Explanation | Guesses:
    from robnet_zoo.eval.reports.diff import show, show_guesses
    from robnet_zoo.eval.studies.diff.tools import explain_accuracy, explain_tool
    from robnet_zoo.eval.target import load_target
    from robnet_zoo.runtime.options import read_pairs

    one_of = (options.tool is None) != (options.accuracy is None)
    if not (options.model and options.attack and one_of):
        raise ZooError("Give two records, or --model, --attack and one of --tool and --accuracy.")
    judged_on = target_options(options)
    target = load_target(named_model(options), judged_on)
    if options.accuracy is not None:
        guesses = explain_accuracy(
            target,
            options.attack,
            options.accuracy / 100,
            n=judged_on.n,
            seed=judged_on.seed,
            batch_size=judged_on.batch_size,
        )
        show_guesses(guesses)
        return guesses
    explained = explain_tool(
        target,
        options.attack,
        options.tool,
        n=judged_on.n,
        seed=judged_on.seed,
        batch_size=judged_on.batch_size,
        tool_settings=read_pairs(options.set),
    )
    show(explained)
    return explained
