"""What an evaluation says of a changed network, and how much of it is false.

A change lifts the robust accuracy falsely where images that were made on the unchanged network,
inside the same ball, break what survives the attack on the changed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.checks.changed import Change
from benchmarks.checks.changes import NamedChange
from benchmarks.checks.data import DIGITS, test_digits
from benchmarks.checks.kept import Row
from benchmarks.checks.networks import NETWORKS, trained
from robnet_zoo import evaluate
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.eval import EvaluationRecord
from robnet_zoo.eval.checks import check_model
from robnet_zoo.threat_models import Norm

if TYPE_CHECKING:
    from benchmarks.checks.honest import Honest  # needs timm

ATTACK = "pgd100"
TRANSFERRED_STEPS = 40
TRANSFERRED_LOSSES = ("ce", "margin")
CHECKED = 64  # images that check_model looks at
OTHER_SIZES: tuple[tuple[Norm, str], ...] = (("L2", "1.0"), ("Linf", "0.05"))  # of honest networks


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What an evaluation says of a network.

    Attributes:
        clean, robust: accuracies in per cent.
        failed_checks: names.
        false: part of the robust accuracy, in points of all images, that images made on the
            unchanged network break; None if none were made.
        lift: of the robust accuracy over that of the unchanged network, in points; None for itself.
    """

    clean: float
    robust: float
    failed_checks: list[str]
    false: float | None = None
    lift: float | None = None


class Subject:
    """A small network that is changed, and the images that were made on it unchanged."""

    def __init__(self, name: str, n: int, seed: int = 0) -> None:
        self.name, self.seed = name, seed
        self.images, self.labels = test_digits(n)

    def judge(self) -> Row:
        """Return what an evaluation says of the unchanged network."""
        return _timed(lambda: self._judged(_same), network=self.name)

    def try_change(self, change: NamedChange, unchanged: Row) -> Row:
        """Return what an evaluation says of the changed network.

        Args:
            change: to try.
            unchanged: what `judge` said.
        """

        def judge() -> Judged:
            judged = self._judged(change.apply)
            return replace(judged, lift=round(judged.robust - unchanged["robust"], 6))

        return _timed(judge, network=self.name, change=change.name, set=change.set)

    def _judged(self, change: Change) -> Judged:
        data = (self.images, self.labels)
        record = evaluate(change(self._copy()), data, [ATTACK], DIGITS, seed=self.seed)
        survivors = torch.tensor([verdict == "1" for verdict in record.totals.verdicts])
        # a fresh copy, as some changes count passes
        broken = survivors & ~self._stands_transferred(change(self._copy()))
        return replace(_verdict(record), false=100 * int(broken.sum()) / len(broken))

    def _copy(self) -> nn.Sequential:
        return trained(NETWORKS[self.name])

    @torch.no_grad()
    def _stands_transferred(self, network: nn.Module) -> Tensor:
        """Return which images a network gets right after the transfer (n,)."""
        right = [network(images).argmax(1) == self.labels for images in self._transferred]
        return torch.stack(right).all(0)

    @cached_property
    def _transferred(self) -> tuple[Tensor, ...]:
        """Images made on the unchanged network, for each loss (n, 1, 8, 8)."""
        size = DIGITS.epsilon.value
        network, made = self._copy(), []
        for loss in TRANSFERRED_LOSSES:
            adversary = Adversary(
                epsilon=size, step_size=size / 8, steps=TRANSFERRED_STEPS, loss=loss
            )
            generator = torch.Generator().manual_seed(3)
            made.append(adversary(network, self.images, self.labels, generator=generator))
        return tuple(made)


def judge_honest(network: Honest, training: str, n: int, seed: int = 0) -> Row:
    """Return what an evaluation, and the checks at other sizes, say of an honest network.

    Args:
        network: to train.
        training: one of `honest.TRAININGS`.
        n: test images of the evaluation.
        seed: of the evaluation and the checks.
    """
    names = {"network": network.name, "training": training, "set": network.set}
    at_sizes: dict[str, list[str]] = {}

    def judge() -> Judged:
        trained = network.train(training)
        images, labels = test_digits(n)
        record = evaluate(trained, (images, labels), [ATTACK], DIGITS, seed=seed)
        for number, (norm, size) in enumerate(OTHER_SIZES, 1):
            part = slice(number * CHECKED, (number + 1) * CHECKED)
            checks = check_model(
                trained, images[part], labels[part], DIGITS.at(size, norm), seed=seed + number
            )
            failed = [check.name for check in checks if check.verdict == "failed"]
            at_sizes[f"{norm} {size}"] = failed
        return _verdict(record)

    return {**_timed(judge, **names), "failed_at_other_sizes": at_sizes}


def _same(network: nn.Sequential) -> nn.Module:
    return network


def _verdict(record: EvaluationRecord) -> Judged:
    return Judged(
        clean=100 * record.clean.accuracy.correct / record.data.n,
        robust=100 * record.totals.robust.correct / record.data.n,
        failed_checks=[check.name for check in record.failed_checks],
    )


def _timed(judge: Callable[[], Judged], **names: str) -> Row:
    """Return a row with the seconds that it took, and the error where there is one.

    Whatever goes wrong with one network must not end a run over hundreds.
    """
    started = time.perf_counter()
    row: Row = {**dict.fromkeys(field.name for field in fields(Judged)), "failed_checks": []}
    error = ""
    try:
        row = asdict(judge())
    except Exception as raised:
        sentence, _, _ = str(raised).partition("\n")
        error = f"{type(raised).__name__}: {sentence}"
    return {**names, **row, "error": error, "seconds": round(time.perf_counter() - started, 2)}
