"""The evaluation harness: attacks, verdicts and records.

The names below are imported when they are first used, so that command lines answer at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robnet_zoo.attacks.registry import get_attack
    from robnet_zoo.eval.evaluation import evaluate
    from robnet_zoo.eval.inputs import About
    from robnet_zoo.eval.record import Report

__all__ = ["About", "Report", "evaluate", "get_attack"]

_HOME = {"About": "subject", "Report": "record", "evaluate": "runner", "get_attack": "attacks"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
