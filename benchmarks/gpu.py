"""Every measurement on one GPU, in a single run of five minutes at most.

Each part is a benchmark in a process of its own, with its own time limit; its record is written
when it is done. A part is skipped if it needs a package which is missing, or if no time is left.
A part that fails or is stopped is reported, and the others go on. The compiled forms are measured
in the time that the other parts leave. AutoAttack is left out: its reference alone takes longer.

    python -m benchmarks.gpu --out runs/gpu
    python -m benchmarks.gpu --device cpu --tiny --out /tmp/rehearsal  # does every part run?
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from robnet_zoo.runtime import console
from robnet_zoo.runtime.environment import pick_device

LEAST = 10.0  # seconds, below which a part would not get past its imports


@dataclass(frozen=True, kw_only=True)
class Part:
    """A benchmark.

    Attributes:
        name: what its record is called, the benchmark's own name first.
        seconds: its time limit.
        arguments, tiny: its arguments, and those that make it a rehearsal.
        needs: packages that not every machine has.
    """

    name: str
    seconds: float
    arguments: str
    tiny: str
    needs: tuple[str, ...] = ()

    def run(self, device: str, tiny: bool, out: Path, left: float) -> str:
        """Run the benchmark within the seconds that are left; return how it went, in a line.

        A rehearsal tells whether a part runs, on a machine of any speed: what is left is its limit.
        """
        missing = [package for package in self.needs if find_spec(package) is None]
        if missing:
            return f"{self.name}: skipped, it needs {' and '.join(missing)}"
        if left < LEAST:
            return f"{self.name}: skipped, no time is left"
        limit = left if tiny else min(self.seconds, left)
        record = out / f"{self.name}-{device.partition(':')[0]}.json"
        command = [sys.executable, "-m", f"benchmarks.{self.name.partition('-')[0]}"]
        command += [*self.arguments.split(), "--device", device, "--out", str(record)]
        command += self.tiny.split() if tiny else []
        started = time.monotonic()
        code = call(command, limit)
        if code is None:
            return f"{self.name}: stopped after {limit:.0f} s"
        went = "done" if code == 0 else f"failed with exit code {code}"
        return f"{self.name}: {went} after {time.monotonic() - started:.0f} s"


def call(command: list[str], limit: float) -> int | None:
    """Return a command's exit code, None where it was stopped with all that it had started."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


SMALL = "--model racl --channels 4 --layers 3 --batch-size 2"
BRIEF = f"{SMALL} --steps 1 --rounds 1"
COMPILED = "--batch-size 256 --compile reduce-overhead"
PARTS = (
    Part(
        name="training-robnet_free",
        seconds=30,
        arguments="--model robnet_free --batch-size 256",
        tiny=BRIEF,
    ),
    Part(name="training-racl", seconds=30, arguments="--model racl --batch-size 256", tiny=BRIEF),
    Part(
        name="supernet",
        seconds=50,
        arguments="--batch-size 64 --side 32 --rounds 2",
        tiny="--algorithm racl --layers 3 --batch-size 2 --side 8 --steps 1 --rounds 1",
    ),
    Part(
        name="limits-robnet_free",
        seconds=35,
        arguments="--batch-size 256 --size 8192",
        tiny=f"{SMALL} --size 64 --rounds 1",
    ),
    Part(name="start", seconds=30, arguments="--rounds 2", tiny="--rounds 1", needs=("sklearn",)),
    Part(
        name="memory-robnet_free",
        seconds=40,
        arguments="--batch-size 128",
        tiny=SMALL,
        needs=("torchattacks",),
    ),
    Part(
        name="evaluation-robnet_free",
        seconds=50,
        arguments="--n 256 --batch-size 256",
        tiny=f"{BRIEF} --n 2",
        needs=("torchattacks",),
    ),
    Part(
        name="evaluation-racl.digits",
        seconds=35,
        arguments="--model racl.digits --n 450 --batch-size 450 --rounds 1",
        tiny="--n 1 --steps 1",
        needs=("torchattacks", "sklearn"),
    ),
    Part(
        name="training-robnet_free-compiled",
        seconds=105,
        arguments=f"--model robnet_free {COMPILED}",
        tiny=BRIEF,
    ),
    Part(
        name="training-racl-compiled",
        seconds=105,
        arguments=f"--model racl {COMPILED}",
        tiny=BRIEF,
    ),
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run every benchmark on one GPU.")
    add = parser.add_argument
    add("--device", default="cuda")
    add("--tiny", action="store_true", help="the smallest sizes, as a rehearsal")
    add("--seconds", type=float, default=300, help="of all parts together (default: 300)")
    add("--out", type=Path, default=Path("runs/gpu"), help="the records (default: runs/gpu)")
    options = parser.parse_args(argv)
    ends = time.monotonic() + options.seconds
    device = pick_device(options.device)
    lines = []
    for part in PARTS:
        lines.append(part.run(device, options.tiny, options.out, ends - time.monotonic()))
        print(lines[-1], file=sys.stderr, flush=True)
    return int(any(": failed" in line or ": stopped" in line for line in lines))


if __name__ == "__main__":
    sys.exit(console.run(main))
