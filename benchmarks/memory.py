"""Peak memory of a step of PGD and of a step of training, ours and the plain one.

Each runs in a process of its own; on a CPU it is that process's largest resident size, which
holds Python and torch too, on a GPU the most that torch had allocated. More steps need no more.

    python -m benchmarks.memory --model robnet_free --batch-size 128
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor

import torch

from benchmarks import measure
from benchmarks.evaluation import Task
from benchmarks.targets import random_images, untrained
from benchmarks.training import plain_steps, zoo_steps
from robnet_zoo.runtime import console

UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of the largest resident size


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the peak memory of attacks and training.")
    parser.add_argument("--model", default="robnet_free")
    parser.add_argument("--channels", type=int)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--batch-size", type=int, default=128)
    measure.add_options(parser, rounds=None)
    options = parser.parse_args(argv)
    measure.prepare(options)
    peaks = {
        name: {who: in_own_process(name, who, options) for who in ("plain", "robnet_zoo")}
        for name in ("evaluation", "training")
    }
    measure.save(options, {"peak_bytes": peaks}, "memory", options.model)


def in_own_process(name: str, who: str, options: argparse.Namespace) -> int:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
        return own.submit(peak, name, who, options).result()


def peak(name: str, who: str, options: argparse.Namespace) -> int:
    """Return the most memory, in bytes, that this process has had after one step."""
    device = measure.prepare(options)
    if name == "training":
        settings = argparse.Namespace(
            **vars(options), steps=1, layout="channels_last", compile=None
        )
        steps = zoo_steps if who == "robnet_zoo" else plain_steps
        steps(settings, random_images(options.batch_size), device)()
    else:
        step_of_attack(who, options, device)
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def step_of_attack(who: str, options: argparse.Namespace, device: str) -> None:
    size = options.batch_size
    target = untrained(options, size, device)
    task = Task(target=target, labels=target.labels, steps=1, batch_size=size).on_all()
    if who == "robnet_zoo":
        task.evaluate(early_exit=False)
    else:
        task.torchattacks()


if __name__ == "__main__":
    sys.exit(console.run(main))
