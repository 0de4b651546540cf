"""Security curves: robust accuracy against epsilon, from one run of a minimal attack.

An attack that looks for the smallest perturbation tells for each image at which distance it found
an adversarial one. At every epsilon, accuracy is at most the part of images that are right and
have none nearer: an upper bound, like that of every attack.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf

import msgspec

from robnet_zoo.attacks.verdicts import limit
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.results import AttackResult
from robnet_zoo.runtime.statistics import Proportion, proportion

POINTS = 100  # of a curve, besides the record's own epsilon


def security_curve(
    record: EvaluationRecord, result: AttackResult, sizes: Sequence[float] | None = None
) -> list[tuple[float, Proportion]]:
    """Return pairs of a size and the accuracy that is left at it; none without distances.

    At the record's epsilon the accuracy is the record's own.

    Args:
        record: of the evaluation.
        result: of one of its attacks.
        sizes: epsilons; if None, from 0 to the largest distance, the record's among them.
    """
    if result.distances is msgspec.UNSET:
        return []
    threat = record.threat_model
    reached = sorted(
        min(inf if distance is None else distance, inf if robust else threat.epsilon_value)
        for distance, robust in zip(result.distances, result.flags, strict=True)
    )
    if sizes is None:
        last = max([threat.epsilon_value, *(size for size in reached if size < inf)])
        sizes = sorted({*(last * k / POINTS for k in range(POINTS + 1)), threat.epsilon_value})
    return [
        (
            size,
            record.clean.accuracy
            if size == 0
            else proportion(
                record.data.n - bisect_right(reached, limit(size, threat.norm)), record.data.n
            ),
        )
        for size in sizes
    ]
