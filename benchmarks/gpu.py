"""Every measurement on one GPU, in a single run of less than ten minutes.

Each part is a benchmark in a process of its own, with its own time limit; its record is written
when it is done. A part that fails, such as for a package that is missing, is told at the end and
the others go on. AutoAttack is left out: its reference alone takes longer than this run.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --device cpu --tiny --out /tmp/rehearsal  # does every part run?
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import RESULTS
from robnet_zoo import console
from robnet_zoo.environment import pick_device


@dataclass(frozen=True)
class Part:
    """A benchmark: what its record is called, its seconds, its arguments, and those of a trial."""

    name: str
    seconds: int
    arguments: str
    tiny: str

    def run(self, device: str, tiny: bool, out: Path) -> str:
        """Run the benchmark and return how it went, in a line."""
        record = out / f"{self.name}-{device.partition(':')[0]}.json"
        command = [sys.executable, "-m", f"benchmarks.{self.name.partition('-')[0]}"]
        command += [*self.arguments.split(), "--device", device, "--out", str(record)]
        command += self.tiny.split() if tiny else []
        started = time.monotonic()
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.DEVNULL,
                check=False,
                timeout=None if tiny else self.seconds,
            )
        except subprocess.TimeoutExpired:
            return f"{self.name}: stopped after its {self.seconds} s"
        went = "done" if done.returncode == 0 else f"failed with exit code {done.returncode}"
        return f"{self.name}: {went} after {time.monotonic() - started:.0f} s"


SMALL = "--model racl --channels 4 --layers 3 --batch-size 2"
BRIEF = f"{SMALL} --steps 1 --rounds 1"
PARTS = (
    Part("limits-robnet_free", 45, "--batch-size 256 --size 8192", f"{SMALL} --size 64 --rounds 1"),
    Part("evaluation-robnet_free", 75, "--n 512 --batch-size 256", f"{BRIEF} --n 2"),
    Part(
        "evaluation-racl.digits",
        40,
        "--model racl.digits --n 450 --batch-size 450 --rounds 1",
        "--n 1 --steps 1",
    ),
    Part("training-robnet_free", 35, "--model robnet_free --batch-size 256", BRIEF),
    Part("training-racl", 35, "--model racl --batch-size 256", BRIEF),
    Part(
        "supernet",
        65,
        "--batch-size 64 --side 32",
        "--algorithm racl --layers 3 --batch-size 2 --side 8 --steps 1 --rounds 1",
    ),
    Part("memory-robnet_free", 45, "--batch-size 128", SMALL),
    Part("start", 30, "--rounds 3", "--rounds 1"),
    Part(
        "training-robnet_free-compiled",
        105,
        "--model robnet_free --batch-size 256 --compile reduce-overhead",
        BRIEF,
    ),
    Part(
        "training-racl-compiled",
        105,
        "--model racl --batch-size 256 --compile reduce-overhead",
        BRIEF,
    ),
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run every benchmark on one GPU.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes, as a rehearsal")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the records")
    options = parser.parse_args(argv)
    device = pick_device(options.device)
    told = []
    for part in PARTS:
        told.append(part.run(device, options.tiny, options.out))
        print(told[-1], file=sys.stderr, flush=True)
    return int(any(": done" not in line for line in told))


if __name__ == "__main__":
    sys.exit(console.run(main))
