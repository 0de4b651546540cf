"""Whether an evaluation's numbers can be trusted: checks of the model, then of the results."""

from __future__ import annotations

from robnet_zoo.eval.checks import bookkeeping, strength
from robnet_zoo.eval.checks.bookkeeping import Card
from robnet_zoo.eval.checks.model import check_model
from robnet_zoo.eval.checks.state import check_unchanged, fingerprint
from robnet_zoo.eval.checks.strength import check_sweep
from robnet_zoo.eval.record import Check, EvaluationRecord

__all__ = [
    "Card",
    "check_model",
    "check_results",
    "check_sweep",
    "check_unchanged",
    "fingerprint",
]


def check_results(
    report: EvaluationRecord, num_classes: int | None = None, card: Card | None = None
) -> tuple[Check, ...]:
    """Check whether the results of an evaluation can be trusted; takes no time.

    A check for which the evaluation holds nothing to compare is left out.

    Args:
        report: the evaluation; its own `checks` are not read.
        num_classes: classes of the data set, where known.
        card: what the weights claim, where they do.
    """
    return (
        bookkeeping.check_sums(report),
        bookkeeping.check_classes(report, num_classes),
        *bookkeeping.check_perturbations(report),
        *bookkeeping.check_card(report, card),
        *strength.check_reach(report),
        *strength.check_converged(report),
        *strength.check_more_steps(report),
        *strength.check_last_iterate(report),
        *strength.check_losses(report),
        *strength.check_black_box(report),
        *strength.check_source(report),
    )
