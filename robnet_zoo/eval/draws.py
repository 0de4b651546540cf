"""What the single draws of a randomised model say, and how sure their mean is."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from msgspec import UNSET, UnsetType
from torch import Tensor

from robnet_zoo.attacks.verdicts import classes
from robnet_zoo.eval.record.fields import bits
from robnet_zoo.eval.record.results import Draws
from robnet_zoo.runtime.statistics import wilson

Part = tuple[Sequence[int], Sequence[str]]  # positions of images, and one string a draw for them


def verdicts(logits: Tensor, labels: Tensor, excused: Tensor | None = None) -> tuple[str, ...]:
    """Return one string a draw, "1" where it is right.

    Args:
        logits: (draws, N, classes).
        labels: (N,).
        excused: images (N,) that count as right whatever the draw says.
    """
    right = [classes(draw) == labels for draw in logits]
    return tuple(bits((own if excused is None else own | excused).tolist()) for own in right)


def summarise(each: Sequence[str]) -> Draws:
    """Return draws with their mean accuracy and its interval.

    The variance of the mean is that of as many images, each judged by one draw, which is at least
    that of their mean over draws, and that of the draws' accuracies over their number: it holds
    where a draw is common to many images too. The interval is Wilson's for that variance.
    """
    n = len(each[0])
    rates = [one.count("1") / n for one in each]
    mean = statistics.fmean(rates)
    single = mean * (1 - mean)
    shared = statistics.variance(rates) / len(rates) / single if single else 0.0
    low, high = wilson(mean, 1 / (1 / n + shared))
    return Draws(verdicts=tuple(each), accuracy=mean, low=max(low, 0.0), high=min(high, 1.0))


def merge(n: int, parts: Iterable[Part]) -> Draws | UnsetType:
    """Return the draws of all n images; those in no part are wrong, and a later part decides."""
    rows: list[list[str]] = []
    for indices, each in parts:
        rows = rows or [["0"] * n for _ in each]
        for row, drawn in zip(rows, each, strict=True):
            for index, verdict in zip(indices, drawn, strict=True):
                row[index] = verdict
    return summarise(["".join(row) for row in rows]) if rows else UNSET
