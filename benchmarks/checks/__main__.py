"""Does a check name every change that lifts a robust accuracy falsely, and no honest network?

Two small networks for digits are changed in many ways (`benchmarks/checks/changes.py`) and judged
under PGD, as are honest networks of many architectures. An interrupted run goes on where it was
when the same command is given again. The record makes the tables of docs/trust.md.

    python -m benchmarks.checks
    python -m benchmarks.page
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.checks import tables
from benchmarks.checks.changes import CHANGES
from benchmarks.checks.kept import Kept, Row
from benchmarks.checks.networks import NETWORKS
from benchmarks.checks.trial import (
    ATTACK,
    TRANSFERRED_LOSSES,
    TRANSFERRED_STEPS,
    Subject,
    judge_honest,
)
from robnet_zoo.runtime import console, files
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.errors import ZooError

LEAST = 192  # images: the checks of honest networks look at three times 64


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Try the checks on changed and honest networks.")
    add = parser.add_argument
    add("--n", type=int, default=200, help="test images (default: 200)")
    add("--seed", type=int, default=0, help="of the evaluations (default: 0)")
    add("--threads", type=int, default=1, help="of the CPU (default: 1)")
    add("--only", nargs="+", metavar="WORD", help="what is named with one of these words")
    add("--out", type=Path, help="the record (default: benchmarks/results/checks-cpu.json)")
    parser.set_defaults(device="cpu")
    options = parser.parse_args(argv)
    if options.n < LEAST:
        raise ZooError(f"--n {options.n} is too few; give {LEAST} images or more.")
    if options.only and options.out is None:
        raise ZooError("A part of the trial is no record for the docs; name a file by --out.")
    if find_spec("timm") is None:
        raise ZooError("Some honest networks are timm's, which is missing; pip install timm.")
    measure.prepare(options)
    out = options.out or measure.RESULTS / "checks-cpu.json"
    files.check_writable(out)
    settings = {
        **{name: getattr(options, name) for name in ("device", "n", "seed", "threads", "only")},
        "attack": ATTACK,
        "transferred": {"steps": TRANSFERRED_STEPS, "losses": TRANSFERRED_LOSSES},
    }
    kept = Kept(out, {"settings": settings, "environment": environment(options.device)})
    record = {
        "format": measure.FORMAT,
        "settings": settings,
        **trial(kept, options.n, options.only or [""], options.seed),
        "environment": environment(options.device),
    }
    files.write_json(out, record)
    kept.remove()
    print(tables.summary(record))


def trial(kept: Kept, n: int, words: list[str], seed: int = 0) -> dict[str, Any]:
    """Judge all networks of which a name has one of the words; return the rows by their kind."""
    from benchmarks.checks.honest import HONEST, TRAININGS  # needs timm

    def chosen(name: str) -> bool:
        return any(word in name for word in words)

    changes = [change for change in CHANGES if chosen(change.name)]
    honest = [network for network in HONEST if chosen(network.name)]
    total = len(NETWORKS) * (1 + len(changes)) + len(TRAININGS) * len(honest)
    rows: dict[str, list[Row]] = {"unchanged": [], "cases": [], "honest": []}
    with console.progress(total, "checks", "networks") as shown:

        def take(kind: str, name: str, judge: Callable[[], Row]) -> Row:
            row = kept.once(name, judge)
            rows[kind].append(row)
            shown.advance(1, note=name)
            return row

        for name in NETWORKS:
            subject = Subject(name, n, seed)
            before = take("unchanged", name, subject.judge)
            if before["error"]:
                raise ZooError(f"The network {name} could not be judged: {before['error']}")
            for change in changes:
                judge = partial(subject.try_change, change, before)
                take("cases", f"{name}: {change.name}", judge)
        for network, training in product(honest, TRAININGS):
            judge = partial(judge_honest, network, training, n, seed)
            take("honest", f"{network.set}: {network.name}, {training}", judge)
    seconds = sum(row["seconds"] for part in rows.values() for row in part)
    return {"seconds": round(seconds, 1), **rows}


if __name__ == "__main__":
    sys.exit(console.run(main))
