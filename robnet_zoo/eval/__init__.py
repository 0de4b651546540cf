"""The evaluation harness: attacks, verdicts and records."""

from robnet_zoo.eval.attacks import get_attack
from robnet_zoo.eval.record import Report
from robnet_zoo.eval.runner import evaluate
from robnet_zoo.eval.subject import About

__all__ = ["About", "Report", "evaluate", "get_attack"]
