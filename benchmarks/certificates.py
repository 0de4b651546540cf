"""How tight certified bounds are, and what they cost, by method.

Of the first image: certified margins at several sizes. Of the first images: certified radii in
Linf, each found from the distance at which the linearised model would err, and the CPU seconds
that they took. The record goes to benchmarks/results/certificates-MODEL-cpu.json.

    python -m benchmarks.certificates --model local-dir:runs/dsrna-compare/racl/racl.digits --n 2
    python -m benchmarks.certificates --model racl.digits --methods zonotope --n 0
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import measure
from robnet_zoo.attacks.model import preserve_state
from robnet_zoo.certify import certified_margin, certified_radius
from robnet_zoo.certify.margins import METHODS
from robnet_zoo.data import to_float
from robnet_zoo.eval.target import EvalOptions, find_model, load_target
from robnet_zoo.runtime import console

CERTIFIERS = ("zonotope", "linear", "optimised")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure certified bounds by method.")
    parser.add_argument("--model", required=True, help="a small one, such as local-dir:DIR")
    parser.add_argument("--n", type=int, default=5, help="images whose radii are sought, or 0")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--sizes", default="0.0001,0.001,0.01,0.02,0.03", help="of the margins")
    measure.add_options(parser, rounds=None)
    options = parser.parse_args(argv)
    measure.prepare(options)
    named = find_model(options.model, None)
    target = load_target(named, EvalOptions(n=options.n, device=options.device))
    some = max(1, options.n)
    images = to_float(target.split.images(torch.arange(some)))
    labels, methods = target.split.labels[:some], options.methods.split(",")
    with preserve_state(target.model):
        results = {
            "parameters": sum(weight.numel() for weight in target.model.parameters()),
            "margins": margins(
                target.model, images[:1], labels[:1], methods, options.sizes.split(",")
            ),
            "radii": radii(target.model, images[: options.n], labels, methods),
        }
    del options.model  # it may be a folder of this machine
    measure.save(options, results, "certificates", named.name, model=named.name)


@torch.no_grad()
def margins(
    model: torch.nn.Module, image: Tensor, label: Tensor, methods: list[str], sizes: list[str]
) -> dict[str, dict[str, Any]]:
    """Return certified margins and CPU seconds of an image, by method and size."""
    return {
        method: {
            size: _timed(
                lambda method=method, size=size: certified_margin(
                    model, image, label, float(size), method=method
                )
            )
            for size in sizes
        }
        for method in methods
    }


def radii(
    model: torch.nn.Module, images: Tensor, labels: Tensor, methods: list[str]
) -> dict[str, Any]:
    """Return each image's radius in Linf and the CPU seconds of all, by method that finds any."""
    return {
        method: _timed(
            lambda method=method: torch.cat(
                [
                    certified_radius(model, images[at : at + 1], labels[at : at + 1], method=method)
                    for at in range(len(images))
                ]
            )
        )
        for method in methods
        if method in CERTIFIERS and len(images)
    }


def _timed(work: Callable[[], Tensor]) -> dict[str, Any]:
    started = time.process_time()
    values = work().tolist()
    return {"values": values, "seconds": round(time.process_time() - started, 2)}


if __name__ == "__main__":
    sys.exit(console.run(main))
