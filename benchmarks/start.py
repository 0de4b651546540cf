"""How long a user waits: importing the package, listing the models, the first classified image.

Every command runs in a fresh process, in alternating rounds; the times are those of the whole
process, with Python's own start and the import of torch beside them.

    python -m benchmarks.start
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from functools import partial

from benchmarks import measure
from robnet_zoo.runtime import console

DEVICE = "BENCHMARK_DEVICE"
FIRST_RESULT = """
import os, torch
from robnet_zoo import create_model
from robnet_zoo.data import load_split, to_float
device = os.environ["BENCHMARK_DEVICE"]
model = create_model("racl.digits").to(device)
dataset, split = load_split("digits", "test")
images = to_float(split.images(torch.arange(len(split)))).to(device)
with torch.no_grad():
    print((model(images).argmax(1).cpu() == split.labels).float().mean())
"""
COMMANDS = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import robnet_zoo": ["-c", "import robnet_zoo"],
    "list_models()": ["-c", "from robnet_zoo import list_models; list_models()"],
    "robnet-zoo list": ["-m", "robnet_zoo", "list"],
    "450 digits classified": ["-c", FIRST_RESULT],
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how soon the package answers.")
    measure.add_options(parser, rounds=5)
    options = parser.parse_args(argv)
    device = measure.prepare(options)
    call = partial(
        subprocess.run,
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": str(options.threads), DEVICE: device},
    )
    contenders = {
        name: partial(call, [sys.executable, *arguments]) for name, arguments in COMMANDS.items()
    }
    seconds = measure.alternate(contenders, options.rounds, device)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    measure.save(options, {"seconds": seconds, "median_seconds": medians}, "start")


if __name__ == "__main__":
    sys.exit(console.run(main))
