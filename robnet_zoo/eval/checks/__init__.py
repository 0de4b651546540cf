"""Whether an evaluation's numbers can be trusted: checks of the model, then of the results."""

from __future__ import annotations

import importlib

from robnet_zoo.eval.checks.model import ModelUnderTest, check_model
from robnet_zoo.eval.checks.registry import Finding, Skipped, check, checks_table, registered
from robnet_zoo.eval.checks.results import Card, Results, Sweep, check_results, check_sweep
from robnet_zoo.eval.checks.state import StateBefore, check_state, fingerprint
from robnet_zoo.eval.checks.survivors import Survivors, check_survivors, chosen_survivors

__all__ = [
    "Card",
    "Finding",
    "ModelUnderTest",
    "Results",
    "Skipped",
    "StateBefore",
    "Survivors",
    "Sweep",
    "check",
    "check_model",
    "check_results",
    "check_state",
    "check_survivors",
    "check_sweep",
    "checks_table",
    "chosen_survivors",
    "fingerprint",
    "registered",
]

# their checks stand in this order in records and in docs/trust.md
_GRADIENTS = ("gradients", "steps", "directions", "randomised", "gradient_attacks", "logit_scale")
_MODEL = ("forward", *_GRADIENTS, "folded")
_RESULTS = ("survivors", "consistency", "settings", "strength", "agreement", "sweep")
for _module in (*_MODEL, *_RESULTS):
    importlib.import_module(f"{__name__}.{_module}")
