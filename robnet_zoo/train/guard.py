"""A watch over held-out accuracy, which tells a run that collapsed."""

from __future__ import annotations

import math
from typing import Any

from robnet_zoo.train.state import Run
from robnet_zoo.train.validate import Kind, Score


def collapse(run: Run, loss: float, score: Score | None) -> str:
    """Return what is wrong with a run that collapsed, or nothing.

    Catastrophic overfitting takes robust accuracy and leaves the clean one. Where both fall, a
    high learning rate may be all there is to it: one epoch is allowed for recovery.

    Args:
        run: the run, whose history tells what was reached before.
        loss: sum over the pass that ended.
        score: of the weights themselves after it, where they were validated.
    """
    if not math.isfinite(loss):
        return "the training loss is not finite"
    if score is None or not has_fallen(run, score.rank, score.kind):
        return ""
    before = _validated_rows(run)[-1]
    recovers = not has_fallen(run, before[f"raw_{score.kind}"], score.kind)
    if has_fallen(run, score.clean, "clean") and recovers:
        return ""
    best = _best_accuracy(run, score.kind)
    return f"held-out {score.kind} accuracy fell from {best:.1%} to {score.rank:.1%}"


def has_fallen(run: Run, accuracy: float, kind: Kind) -> bool:
    """Return whether a held-out accuracy is below half of the best, and not by chance."""
    best = _best_accuracy(run, kind)
    images = len(run.validation) / run.guard_stride
    noise = 2 * math.sqrt(best * (1 - best) / images)
    return accuracy < min(best / 2, best - run.settings.recipe.guard - noise)


def _best_accuracy(run: Run, kind: Kind) -> float:
    return max((row[f"raw_{kind}"] for row in _validated_rows(run)), default=0.0)


def _validated_rows(run: Run) -> list[dict[str, Any]]:
    return [row for row in run.state.history if row["raw_clean"] is not None]
