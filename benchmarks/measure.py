"""What the benchmarks share: options, alternating rounds, ratios, and the record of a run."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from robnet_zoo.runtime.environment import environment, pick_device, tune
from robnet_zoo.runtime.files import write_json

FORMAT = "robnet_zoo.benchmark/1"
RESULTS = Path(__file__).parent / "results"
PRIVATE = ("out", "data")  # options that name places on a machine

Work = Callable[[], object]  # may return the seconds that count, where not all of them do
Seconds = dict[str, list[float]]


def add_options(parser: argparse.ArgumentParser, rounds: int | None = 3) -> None:
    """Add the options of every benchmark; without --rounds where nothing is timed (None)."""
    add = parser.add_argument
    add("--device", default="auto", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    if rounds is not None:
        add("--rounds", type=int, default=rounds, help=f"that are timed (default: {rounds})")
    add("--threads", type=int, default=2, help="of the CPU (default: 2)")
    add("--out", type=Path, help="the record (default: benchmarks/results/...)")


def prepare(options: argparse.Namespace) -> str:
    """Set threads and the device up as training does; return the device."""
    torch.set_num_threads(options.threads)
    tune()
    options.device = pick_device(options.device)
    return options.device


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def alternate(
    contenders: Mapping[str, Work], rounds: int, device: str, *, warm_up: int = 0
) -> Seconds:
    """Return each contender's seconds in every round; in a round all take their turn.

    A machine that is busy for a while slows all contenders of those rounds, not one of them.
    """
    seconds: Seconds = {name: [] for name in contenders}
    for turn in range(warm_up + rounds):
        for name, work in contenders.items():
            started = time.perf_counter()
            taken = work()
            synchronise(device)
            if turn >= warm_up:
                spent = time.perf_counter() - started
                seconds[name].append(taken if isinstance(taken, float) else spent)
    return seconds


def comparison(seconds: Seconds, plain: str, ours: str = "robnet_zoo") -> dict[str, Any]:
    """Return the seconds and the speed-up: of the ratios within each round, the median."""
    ratios = [a / b for a, b in zip(seconds[plain], seconds[ours], strict=True)]
    speedup = {
        "median": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }
    return {"seconds": seconds, "speedup": speedup}


def rates(seconds: Seconds, images: int) -> dict[str, float]:
    """Return each contender's images per second, in its median round."""
    return {name: images / statistics.median(taken) for name, taken in seconds.items()}


def save(options: argparse.Namespace, results: Mapping[str, Any], *name: str, **names: Any) -> None:
    """Print a record and write it to --out, else to results/NAME-NAME-cpu.json (or cuda).

    Args:
        options: the command line's; all are kept but for paths on this machine.
        results: what was measured.
        name: parts of the file's name.
        names: of the model and the data set, as the rest of the zoo spells them.
    """
    settings = {key: value for key, value in vars(options).items() if key not in PRIVATE} | names
    record = {
        "format": FORMAT,
        "settings": settings,
        **results,
        "environment": environment(options.device),
    }
    kind = options.device.partition(":")[0]
    print(json.dumps(record, indent=2))
    write_json(options.out or RESULTS / f"{'-'.join((*name, kind))}.json", record)
