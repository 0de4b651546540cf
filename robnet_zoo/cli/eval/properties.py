"""`robnet-zoo eval properties`: a model and its certificates' questions for other verifiers."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.options import (
    add_model_options,
    add_target_options,
    named_model,
    target_options,
)
from robnet_zoo.runtime.errors import ZooError

TIMEOUT = 300  # seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Write a model as ONNX and the question of a certificate for each image as a VNN-LIB\n"
        "property, for verifiers such as alpha-beta-CROWN (docs/certificates.md)."
    )
    add_model_options(parser)
    add_target_options(parser)
    add = parser.add_argument
    add("--out", type=Path, help="folder of the files (default: runs/properties/MODEL)")
    add("--timeout", type=int, default=TIMEOUT, help="seconds for an image (default: 300)")


def run(options: argparse.Namespace) -> int:
    """Write the files and say how many."""
    from robnet_zoo.eval.studies.properties import write_properties
    from robnet_zoo.eval.target import load_target

    if options.model is None:
        raise ZooError("No model was named; add --model, such as --model racl.digits.")
    model = named_model(options)
    folder = options.out or Path("runs") / "properties" / model.name
    judged_on = target_options(options)
    target = load_target(model, judged_on)
    count = write_properties(target, folder, n=judged_on.n, timeout=options.timeout)
    print(f"{count} properties at Linf {target.threat_model.epsilon}")
    print(f"Written: {folder}")
    return 0
