"""`robnet-zoo eval verify`: somebody's adversarial images, measured and shown to the model."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from robnet_zoo.cli.options import (
    add_model_options,
    add_target_options,
    named_model,
    print_written,
    target_options,
)
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable, write_json

EPILOG = """\
The file holds the images as x_adv, adversarial, adv, images or arr_0 (.npz, .npy, .pt, .pth):
floats in [0,1], (N, C, H, W) or (N, H, W, C), or uint8; and, where they are not the first N of
the data set, their positions in it as indices. Labels and verdicts (robust) are compared if they
are there. The ball is that of the file, if it names one, and else that of the weights, unless
--eps or --norm is given.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Check verdicts in seconds: measure every saved adversarial image against its clean one,\n"
        "and let the model judge those that lie in the ball and in [0,1]."
    )
    parser.epilog = EPILOG
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="the adversarial images")
    add_model_options(parser)
    add_target_options(parser)
    add("--record", type=Path, help="compare with the verdicts of this record too")
    add("--out", type=Path, help="write the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Verify, show, and write where asked."""
    from robnet_zoo.eval import record
    from robnet_zoo.eval.reports.verification import show
    from robnet_zoo.eval.saved_images import read_images
    from robnet_zoo.eval.studies.verify import verify
    from robnet_zoo.eval.target import load_target
    from robnet_zoo.runtime.decode import to_builtins

    if options.model is None:
        raise ZooError("No model was named; add --model, such as --model racl.digits.")
    if options.out is not None:
        check_writable(options.out)
    saved = read_images(options.file)
    held = None if options.record is None else record.read(options.record)
    judged_on = target_options(options)
    if judged_on.eps is None and judged_on.norm is None and saved.epsilon:
        judged_on = replace(judged_on, eps=saved.epsilon, norm=saved.norm)
    target = load_target(named_model(options), judged_on)
    verified = verify(
        target.model,
        target.split,
        saved,
        target.threat_model,
        n=judged_on.n,
        record=held,
        batch_size=judged_on.batch_size,
        metadata=target.metadata,
    )
    show(verified)
    if options.out is not None:
        write_json(options.out, to_builtins(verified))
        print_written([options.out])
