"""The evaluation harness: attacks, verdicts and records.

The names below are imported when they are first used, so that command lines answer at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robnet_zoo.attacks.registry import get_attack
    from robnet_zoo.eval.evaluation import evaluate
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.eval.record import EvaluationRecord

__all__ = ["EvaluationRecord", "RunMetadata", "evaluate", "get_attack"]

_HOME = {
    "EvaluationRecord": "eval.record",
    "RunMetadata": "eval.inputs",
    "evaluate": "eval.evaluation",
    "get_attack": "attacks.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"robnet_zoo.{_HOME[name]}"), name)
