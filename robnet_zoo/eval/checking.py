"""The checks of an evaluation under way: of the model before the attacks, and behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from msgspec import UNSET

from robnet_zoo.attacks.fingerprint import fingerprint_in_batch
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.eval.checks import (
    StateBefore,
    Survivors,
    check_model,
    check_state,
    check_survivors,
    chosen_survivors,
)
from robnet_zoo.eval.checks.folded import FOLDED
from robnet_zoo.eval.checks.model import IMAGES
from robnet_zoo.eval.engine import Engine
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.check import Check

STEADY = ("deterministic", "batch-independent")  # without which a function has no fingerprint


def check_before(work: Engine, eot: int) -> tuple[Check, ...]:
    """Return the checks of the model, on the first images.

    Where the faster form is not the same function, attacks see the model itself from then on.

    Args:
        work: the evaluation.
        eot: draws that the gradients of the attacks average.
    """
    few = torch.arange(min(IMAGES, len(work.images)))
    images, labels = work.images.take(few), work.images.labels[few]

    def check() -> tuple[Check, ...]:
        return check_model(
            work.model,
            images,
            labels,
            work.threat_model,
            seed=work.seed,
            batch_size=work.batch_size,
            attack_model=None if work.attack_model is work.model else work.attacked_model(),
            adaptive=replace(work.adaptive, eot=eot),
        )

    checks = work.within_memory(check)
    if any(check.name == FOLDED and not check.passed for check in checks):
        work.attack_model, work.compiled = work.model, False
        work.warnings.append("Attacks saw the model itself: its folded form failed its check.")
    return checks


def check_behind(
    work: Engine, record: EvaluationRecord, checks: tuple[Check, ...], tensors: Mapping[str, str]
) -> tuple[Check, ...]:
    """Return the checks of what the model is behind the attacks, and of what survived them.

    Args:
        work: the evaluation.
        record: of it, without checks.
        checks: of the model, from before.
        tensors: the fingerprint of its parameters and buffers, from before.
    """
    return (
        *work.within_memory(lambda: _check_state(work, record, checks, tensors)),
        *work.within_memory(lambda: _check_survivors(work, record)),
    )


def _check_state(
    work: Engine, record: EvaluationRecord, checks: tuple[Check, ...], tensors: Mapping[str, str]
) -> tuple[Check, ...]:
    before = record.model.fingerprint
    steady = all(check.passed for check in checks if check.name in STEADY)
    if before is UNSET or before is None or not steady or work.adaptive.randomised:
        return check_state(StateBefore(model=work.model, fingerprint=tensors))
    model = AttackedModel(
        work.model, work.batch_size, attack_model=work.attack_model, compiled=work.compiled
    )
    images = work.images.take(torch.arange(min(model.chunk, len(work.images))))
    return check_state(
        StateBefore(
            model=work.model,
            fingerprint=tensors,
            functions=(before, fingerprint_in_batch(model, images)),
            batch=len(images),
        )
    )


def _check_survivors(work: Engine, record: EvaluationRecord) -> tuple[Check, ...]:
    indices = chosen_survivors(record)
    return check_survivors(
        Survivors(
            record=record,
            indices=indices.tolist(),
            images=work.images.take(indices),
            labels=work.images.labels[indices.to(work.images.labels.device)],
            model=work.attacked_model(),
            threat_model=work.threat_model,
            seed=work.seed,
        )
    )
