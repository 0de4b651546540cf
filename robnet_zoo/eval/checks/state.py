"""Whether an evaluation left the model as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from torch import nn

from robnet_zoo.eval.checks.registry import Finding, check, run_checks
from robnet_zoo.eval.record.check import Check


@dataclass(frozen=True, kw_only=True, eq=False)
class StateBefore:
    """A model behind an evaluation, and the `fingerprint` of it from before."""

    model: nn.Module
    fingerprint: Mapping[str, str]


def fingerprint(model: nn.Module) -> dict[str, str]:
    """Return a hash of what each parameter and buffer holds."""
    return {
        name: hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
    }


def check_state(model: nn.Module, before: Mapping[str, str]) -> tuple[Check, ...]:
    """Check whether a model is what it was.

    Args:
        model: behind the evaluation.
        before: what `fingerprint` returned before it.
    """
    return run_checks("state", StateBefore(model=model, fingerprint=before))


@check(
    "unchanged",
    kind="state",
    catches="batch norm that goes on learning, counters",
    fails_if="a parameter or buffer differs after the evaluation",
)
def check_unchanged(given: StateBefore) -> Finding:
    """Parameters and buffers hold what they did."""
    before, after = given.fingerprint, fingerprint(given.model)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        not changed,
        f"The evaluation changed {len(changed)} tensors of the model ({changed[0]})"
        if changed
        else "The evaluation changed no parameter and no buffer",
        "images met different models; keep the forward pass from writing to the model",
    )
