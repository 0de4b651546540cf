"""`robnet-zoo eval certify`: for each image the radius within which its class is certain."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.options import (
    add_model_options,
    add_target_options,
    default_record,
    named_model,
    print_written,
    target_options,
)
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable
from robnet_zoo.threat_models import GRADIENT_NORMS

RADII = ",".join(GRADIENT_NORMS)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Find sizes of the perturbation, and radii in Linf and in L2, within which the class of\n"
        "each image is certain, and attack it with pgd20 beside (docs/certificates.md)."
    )
    add_model_options(parser)
    add_target_options(parser)
    add = parser.add_argument
    add(
        "--method",
        choices=("zonotope", "linear", "optimised"),
        help="how bounds are found (default: linear, or zonotope where a model is too large)",
    )
    add(
        "--precision",
        choices=("float32", "float64"),
        help="that bounds are computed in (default: the model's)",
    )
    add("--radii", default=RADII, help="norms of the radii, the threat model's among them")
    add("--out", type=Path, help="the record (default: runs/eval/MODEL-certify.json)")
    add("--resume", action="store_true", help="go on where an interrupted run stopped")


def run(options: argparse.Namespace) -> int:
    """Certify, show and record."""
    from robnet_zoo.eval.reports.certificate import show
    from robnet_zoo.eval.studies import certificate
    from robnet_zoo.eval.studies.certify import certify
    from robnet_zoo.eval.target import load_target
    from robnet_zoo.runtime.distributed import is_main_process

    if options.model is None:
        raise ZooError("No model was named; add --model, such as --model racl.digits.")
    model = named_model(options)
    out = options.out or default_record(model.name, "certify")
    finished = out.exists()
    if finished and not options.resume:
        raise ZooError(
            f"'{out}' is finished: show it with --resume, name another --out, or delete it to "
            "certify anew."
        )
    check_writable(out)
    judged_on = target_options(options)
    certified = certify(
        load_target(model, judged_on),
        n=judged_on.n,
        norms=options.radii.split(","),
        method=options.method,
        precision=options.precision,
        seed=judged_on.seed,
        batch_size=judged_on.batch_size,
        out=out,
        resume=options.resume,
        quiet=False,
    )
    if is_main_process():
        written = [] if finished else certificate.write(certified, out)
        show(certified)
        if written:
            print_written(written)
    return 0
