"""Whether accuracy falls with epsilon."""

from __future__ import annotations

from itertools import pairwise

from robnet_zoo.eval.checks.gaps import largest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check
from robnet_zoo.eval.checks.results import Sweep
from robnet_zoo.eval.checks.settings import ALL_GREY

SWEEP_GAP = 0.01  # of n that a larger epsilon may break less, or one without bound not at all


@check(
    "epsilon-monotone",
    kind="sweep",
    catches="attacks that fail at a larger epsilon",
    fails_if="accuracy rises with epsilon by more than 1 % of n",
)
def check_monotone(sweep: Sweep) -> Finding | Skipped:
    """Accuracy falls with epsilon."""
    rises = [
        (more - fewer, f"At epsilon {larger} {{}} more are robust than at {smaller}")
        for (smaller, fewer), (larger, more) in pairwise(sweep.robust)
    ]
    remedy = "a larger ball holds the smaller, so the attack fails; take more steps, or add square"
    nothing = "There is no second epsilon to compare with"
    return largest(rises, SWEEP_GAP, sweep.records[-1].data.n, remedy, nothing)


@check(
    "epsilon-unbounded",
    kind="sweep",
    catches="masked gradients",
    fails_if="over 1 % of n stand at epsilon 1, where every image is allowed, or beyond the "
    "largest class from 0.5 on, where every image may turn grey",
)
def check_unbounded(sweep: Sweep) -> Finding | Skipped:
    """Accuracy falls to nothing where any image is allowed."""
    last = sweep.records[-1]
    size = last.threat_model.epsilon_value
    if last.threat_model.norm != "Linf" or size < ALL_GREY:
        return Skipped("No epsilon of 0.5 or more, where every image may turn grey, was tried")
    alike = 0 if size >= 1 else max(totals.n for totals in last.totals.per_class)
    epsilon, left = sweep.robust[-1]
    remedy = "no model is that robust, so the attack does not work; look for masked gradients"
    more = f" more than the largest class's {alike}" if alike else ""
    gaps = [(left - alike, f"At epsilon {epsilon} {{}}{more} are robust")]
    return largest(gaps, SWEEP_GAP, last.data.n, remedy, "")
