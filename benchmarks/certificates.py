"""How tight certified bounds are, and what they cost, by method.

Of the first image: certified margins at several sizes. Of the first images: certified radii in
Linf, each found from the distance at which the linearised model would err, and the CPU seconds
that they took. The record goes to benchmarks/results/certificates-MODEL-cpu.json.

    python -m benchmarks.certificates --model local-dir:runs/small.digits --n 5
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
from robnet_zoo.certify.margins import METHODS, Method
from robnet_zoo.eval.target import EvalOptions, find_model, load_target
from robnet_zoo.runtime import console

CERTIFIERS: tuple[Method, ...] = ("zonotope", "linear", "optimised")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure certified bounds by method.")
    parser.add_argument("--model", required=True, help="a small one, such as local-dir:DIR")
    parser.add_argument("--n", type=int, default=5, help="images whose radii are sought")
    parser.add_argument("--sizes", default="0.0001,0.001,0.01,0.02,0.03", help="of the margins")
    measure.add_options(parser, rounds=None)
    options = parser.parse_args(argv)
    measure.prepare(options)
    named = find_model(options.model, None)
    target = load_target(named, EvalOptions(n=options.n, device=options.device))
    images = target.split.images(torch.arange(options.n)).float() / 255
    labels = target.split.labels[: options.n]
    with preserve_state(target.model):
        results = {
            "margins": margins(target.model, images[:1], labels[:1], options.sizes.split(",")),
            "radii": radii(target.model, images, labels),
        }
    del options.model  # it may be a folder of this machine
    measure.save(options, results, "certificates", named.name, model=named.name)


@torch.no_grad()
def margins(
    model: torch.nn.Module, image: Tensor, label: Tensor, sizes: list[str]
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
        for method in METHODS
    }


def radii(model: torch.nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return each image's radius in Linf and the CPU seconds of all, by method."""
    return {
        method: _timed(
            lambda method=method: torch.cat(
                [
                    certified_radius(model, images[at : at + 1], labels[at : at + 1], method=method)
                    for at in range(len(images))
                ]
            )
        )
        for method in CERTIFIERS
    }


def _timed(work: Callable[[], Tensor]) -> dict[str, Any]:
    started = time.process_time()
    values = work().tolist()
    return {"values": values, "seconds": round(time.process_time() - started, 2)}


if __name__ == "__main__":
    sys.exit(console.run(main))
