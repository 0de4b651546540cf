"""The fastest way to train here: batch sizes, modes of torch.compile and memory layouts, tried out.

    python -m benchmarks.sweep --model robnet_free --seconds 120 --out runs/sweep.json

prints the options for `python -m robnet_zoo.train`, and records every trial. Networks of a few
cells stand for the whole one, whose compilation alone would take longer than the sweep; trials
that do not fit into the time are left out, and so are those that the memory is too small for.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import synchronise
from benchmarks.subject import random_images
from benchmarks.training import zoo_steps
from robnet_zoo.environment import environment, pick_device
from robnet_zoo.files import write_json

STEPS = 5  # timed in a trial, after two that warm up
COMPILED_GAIN = 1.3  # below it, a run of half an hour does not earn back its compilation
BATCH_GAIN = 1.1  # below it, more steps are worth more than more images a second


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the fastest options of a training run.")
    parser.add_argument("--model", default="robnet_free")
    parser.add_argument("--channels", type=int, default=None)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--steps", type=int, default=3, help="of PGD")
    parser.add_argument("--seconds", type=float, default=120.0, help="begin no trial after these")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True, help="the record")
    options = parser.parse_args()
    options.device = pick_device(options.device)
    torch.backends.cudnn.benchmark = True  # as in training on CUDA
    started = time.monotonic()
    trials: list[dict[str, Any]] = []
    layouts = ("channels_last", "contiguous")
    for mode, size, layout in product(
        (None, "default", "reduce-overhead"), options.batch_sizes, layouts
    ):
        if trials and time.monotonic() - started > options.seconds:
            break
        trial = {"batch_size": size, "compile": mode, "layout": layout}
        trials.append(trial | {"images_per_second": rate(options, trial)})
        print(trials[-1], file=sys.stderr, flush=True)
    chosen = choose(trials)
    write_json(
        options.out,
        {"trials": trials, "chosen": chosen, "environment": environment(options.device)},
    )
    words = f"--batch-size {chosen['batch_size']} --layout {chosen['layout']}"
    print(words + (f" --compile {chosen['compile']}" if chosen["compile"] else ""))


def rate(options: argparse.Namespace, trial: dict[str, Any]) -> float:
    """Return the images a second of a trial; 0 where the memory is too small."""
    size = trial["batch_size"]
    images = random_images(size)
    settings = argparse.Namespace(**(vars(options) | trial))
    taken = []
    try:
        step = zoo_steps(settings, images, options.device)
        for _ in range(STEPS + 2):
            began = time.perf_counter()
            step()
            synchronise(options.device)
            taken.append(time.perf_counter() - began)
    except torch.OutOfMemoryError:
        return 0.0
    finally:
        torch.compiler.reset()
    return size / statistics.median(taken[2:])


def choose(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the trial to train with: fast, unless that takes compiling or a large batch."""

    def worth(trial: dict[str, Any]) -> float:
        return trial["images_per_second"] / (COMPILED_GAIN if trial["compile"] else 1.0)

    best = max(map(worth, trials))
    return min(
        (trial for trial in trials if worth(trial) * BATCH_GAIN >= best),
        key=lambda trial: (trial["batch_size"], -worth(trial)),
    )


if __name__ == "__main__":
    main()
