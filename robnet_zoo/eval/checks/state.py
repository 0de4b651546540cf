"""Whether an evaluation left the model as it was."""

from __future__ import annotations

import hashlib
from itertools import chain

from torch import nn

from robnet_zoo.eval.checks.finding import finding
from robnet_zoo.eval.record import Check


def fingerprint(model: nn.Module) -> dict[str, str]:
    """Return a hash of what each parameter and buffer holds."""
    return {
        name: hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
    }


def check_unchanged(model: nn.Module, before: dict[str, str]) -> Check:
    """Parameters and buffers hold what they did.

    Args:
        model: after the evaluation.
        before: what `fingerprint` returned before it.
    """
    after = fingerprint(model)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    return finding(
        "unchanged",
        not changed,
        f"The evaluation changed {len(changed)} tensors of the model ({changed[0]})"
        if changed
        else "The evaluation changed no parameter and no buffer",
        "images met different models; keep the forward pass from writing to the model",
    )
