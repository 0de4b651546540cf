"""PGD against a network: the zoo's evaluation beside torchattacks on the plain eager network.

Two things are measured, in alternating rounds on the same images. Gradients: every image goes
through all steps on both sides, so that nothing but the speed of a step counts; the time is that
of the attack alone. Verdicts, for trained networks only: the whole evaluation, which leaves broken
images alone, beside a script that attacks all of them and then asks the network. An untrained
network is broken at the first step, and leaving its images alone would prove nothing.

What survives torchattacks' last iterate may have been broken on the way, and both start from noise
of their own. So the verdicts are also compared, image by image, with those of the zoo's evaluation
when its attack sees the network itself and not the faster form.

    python -m benchmarks.evaluation --model robnet_free
    python -m benchmarks.evaluation --model local-dir:weights/racl.cifar10-mini --n 256
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import measure, targets
from benchmarks.plain import plain
from robnet_zoo import evaluate
from robnet_zoo.attacks.library import require
from robnet_zoo.eval import EvaluationRecord, get_attack
from robnet_zoo.runtime import console
from robnet_zoo.zoo.architectures import ARCHITECTURES


@dataclass(frozen=True, kw_only=True)
class Task:
    """What both sides do: PGD of `steps` steps on the target's images, away from `labels` (N,)."""

    target: targets.Target
    labels: Tensor
    steps: int
    batch_size: int

    @property
    def plain(self) -> nn.Module:
        """The network as a user of torchattacks would have it."""
        return plain(self.target.model)

    def on_all(self) -> Task:
        """Return the task with labels that make every image one to attack."""
        return replace(self, labels=self.predict(self.target.images))

    def evaluate(self, *, early_exit: bool, folded: bool = True) -> EvaluationRecord:
        """Return the zoo's report."""
        attack = get_attack(f"pgd{self.steps}", early_exit=early_exit)
        return evaluate(
            self.target.model,
            (self.target.images, self.labels),
            [attack],
            self.target.threat_model,
            batch_size=self.batch_size,
            folded=folded,
        )

    def torchattacks(self) -> Tensor:
        """Return torchattacks' last iterates, made the way a user would."""
        attack = require("pgd", "torchattacks").PGD(
            self.plain,
            eps=self.target.threat_model.epsilon.value,
            alpha=self.target.threat_model.step.value,
            steps=self.steps,
        )
        parts = (tensor.split(self.batch_size) for tensor in (self.target.images, self.labels))
        return torch.cat([attack(*part) for part in zip(*parts, strict=True)])

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Return the plain network's class of each image (N,)."""
        parts = images.split(self.batch_size)
        return torch.cat([self.plain(part).argmax(1) for part in parts])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare the speed of PGD evaluations.")
    parser.add_argument("--model", default="robnet_free", help="untrained, or NAME.TAG")
    parser.add_argument("--channels", type=int, help="of an untrained network")
    parser.add_argument("--layers", type=int, help="of an untrained network")
    parser.add_argument("--steps", type=int, default=100, help="of PGD (default: 100)")
    parser.add_argument("--batch-size", type=int, default=32)
    targets.add_options(parser, n=32)
    measure.add_options(parser)
    options = parser.parse_args(argv)
    device = measure.prepare(options)
    trained = options.model not in ARCHITECTURES
    if trained:
        target = targets.load(options, device)
    else:
        target = targets.untrained(options, options.n, device)
    task = Task(
        target=target, labels=target.labels, steps=options.steps, batch_size=options.batch_size
    )
    parts = {
        "gradients": gradients(task.on_all(), options),
        "verdicts": verdicts(task, options) if trained else None,
    }
    measure.save(options, parts, "evaluation", target.names["model"], **target.names)


def gradients(task: Task, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the attacks alone, all images going through all steps."""
    reports = []

    def ours() -> float:
        reports.append(task.evaluate(early_exit=False))
        return reports[-1].attacks[0].seconds

    def theirs() -> None:
        task.torchattacks()

    warm_up(task, options)
    seconds = measure.alternate(
        {"torchattacks": theirs, "robnet_zoo": ours}, options.rounds, options.device
    )
    gradients = len(task.labels) * task.steps
    return {
        **measure.comparison(seconds, "torchattacks"),
        "gradients_per_second": measure.rates(seconds, gradients),
        "computed": {"torchattacks": gradients, "robnet_zoo": reports[-1].attacks[0].backwards},
        "folded": reports[-1].settings.folded,
    }


def verdicts(task: Task, options: argparse.Namespace) -> dict[str, Any]:
    """Compare everything from the images to the robust accuracy, and the verdicts themselves."""
    robust: dict[str, Tensor] = {}

    def ours(name: str = "robnet_zoo", folded: bool = True) -> None:
        (result,) = task.evaluate(early_exit=True, folded=folded).attacks
        robust[name] = torch.tensor([bit == "1" for bit in result.verdicts])

    def theirs() -> None:
        clean, attacked = task.predict(task.target.images), task.predict(task.torchattacks())
        robust["torchattacks"] = ((clean == task.labels) & (attacked == task.labels)).cpu()

    seconds = measure.alternate(
        {"torchattacks": theirs, "robnet_zoo": ours}, options.rounds, options.device
    )
    ours("unfolded", folded=False)
    ours_alone = robust["robnet_zoo"] & ~robust["unfolded"]
    return {
        **measure.comparison(seconds, "torchattacks"),
        "images_per_second": measure.rates(seconds, len(task.labels)),
        "robust_accuracy": {name: float(flags.float().mean()) for name, flags in robust.items()},
        "judged_differently": int((robust["robnet_zoo"] != robust["unfolded"]).sum()),
        "in_the_models_favour": int(ours_alone.sum()),
    }


def warm_up(task: Task, options: argparse.Namespace) -> None:
    """Let both sides choose kernels and fill caches, with two steps."""
    short = replace(task, steps=2)
    short.torchattacks()
    short.evaluate(early_exit=False)
    measure.synchronise(options.device)


if __name__ == "__main__":
    sys.exit(console.run(main))
