"""AutoAttack's standard version, end to end: the zoo's evaluation beside the authors' own program.

Both are given the same images and the same network, and time counts from the images to the robust
accuracy. The two draw their random numbers in blocks of different sizes, so that a few verdicts
may differ; what counts is that ours leaves no more images standing.

    python -m benchmarks.autoattack --model racl.digits --n 32
"""

from __future__ import annotations

import argparse
import sys

from torch import Tensor

from benchmarks import measure, targets
from benchmarks.plain import plain
from robnet_zoo import evaluate
from robnet_zoo.attacks.library import require
from robnet_zoo.runtime import console

BATCH_SIZE = 250  # AutoAttack's own


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare the speed of AutoAttack.")
    parser.add_argument("--model", default="racl.digits", help="NAME.TAG or local-dir:DIR")
    targets.add_options(parser, n=32)
    measure.add_options(parser, rounds=1)
    options = parser.parse_args(argv)
    device = measure.prepare(options)
    target = targets.load(options, device)
    robust: dict[str, list[bool]] = {}

    def ours() -> None:
        report = evaluate(
            target.model, (target.images, target.labels), ["autoattack"], target.threat_model
        )
        robust["robnet_zoo"] = [bit == "1" for bit in report.totals.verdicts]

    def theirs() -> None:
        robust["pyautoattack"] = (reference(target) == target.labels).tolist()

    contenders = {"pyautoattack": theirs, "robnet_zoo": ours}
    seconds = measure.alternate(contenders, options.rounds, device)
    pairs = list(zip(robust["pyautoattack"], robust["robnet_zoo"], strict=True))
    results = {
        **measure.comparison(seconds, "pyautoattack"),
        "robust_accuracy": {name: sum(flags) / len(flags) for name, flags in robust.items()},
        "judged_differently": sum(a != b for a, b in pairs),
    }
    measure.save(options, results, "autoattack", target.names["model"], **target.names)


def reference(target: targets.Target) -> Tensor:
    """Return the class (N,) of each image as AutoAttack leaves it, as its authors' program says."""
    attack = require("autoattack", "pyautoattack").AutoAttack(
        plain(target.model),
        norm=target.threat_model.norm,
        eps=target.threat_model.epsilon.value,
        version="standard",
        seed=0,
        device=target.images.device,
    )
    _, classes = attack.run_standard_evaluation(target.images, target.labels, batch_size=BATCH_SIZE)
    return classes


if __name__ == "__main__":
    sys.exit(console.run(main))
