"""The evaluation harness: attacks, verdicts and records.

The names below are imported when they are first used, so that command lines answer at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robnet_zoo.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from robnet_zoo.attacks.registry import get_attack
    from robnet_zoo.eval.evaluation import evaluate
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.eval.record import EvaluationRecord

__all__ = ["EvaluationRecord", "RunMetadata", "evaluate", "get_attack"]

_HOMES = {
    "EvaluationRecord": "eval.record",
    "RunMetadata": "eval.inputs",
    "evaluate": "eval.evaluation",
    "get_attack": "attacks.registry",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
