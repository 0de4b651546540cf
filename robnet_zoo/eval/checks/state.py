"""Whether the model is behind an evaluation, and in its batches, what it was before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from torch import nn

from robnet_zoo.attacks.fingerprint import Fingerprint
from robnet_zoo.eval.checks.registry import Finding, Skipped, check, run_checks
from robnet_zoo.eval.record.check import Check


@dataclass(frozen=True, kw_only=True, eq=False)
class StateBefore:
    """A model behind an evaluation, and what it was before.

    Attributes:
        model: behind the evaluation.
        fingerprint: of its tensors, from before.
        functions: the fingerprint of its function from before, and from behind the attacks in a
            batch as large as theirs; None where it is random, or knows its batch.
        batch: images in that batch.
    """

    model: nn.Module
    fingerprint: Mapping[str, str]
    functions: tuple[Fingerprint, Fingerprint] | None = None
    batch: int = 0


def fingerprint(model: nn.Module) -> dict[str, str]:
    """Return a hash of what each parameter and buffer holds."""
    return {
        name: hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
    }


def check_state(before: StateBefore) -> tuple[Check, ...]:
    """Check whether a model is what it was."""
    return run_checks("state", before)


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


@check(
    "same-function",
    kind="state",
    catches="code that recognises checks by the size of their batches or by counting passes",
    fails_if="behind the attacks, in a batch as large as theirs, any of 8 images has logits that "
    "differ by over 1e-3 of their spread from those before, or over 2 have gradients that differ "
    "by over 3 % of their length",
)
def check_same_function(given: StateBefore) -> Finding | Skipped:
    """A few images get the logits and the gradients that they got before the attacks."""
    if given.functions is None:
        return Skipped("The model is random, or its images influence one another")
    before, behind = given.functions
    logits, gradients = before.differing(behind)
    return (
        before.matches(behind),
        f"Behind the attacks, in a batch of {given.batch}, {logits} of {len(before.logits)} images "
        f"have other logits than before, and {gradients} other gradients",
        "attacks met another model than the checks did; look for code that counts passes or looks "
        "at the size of a batch",
    )
