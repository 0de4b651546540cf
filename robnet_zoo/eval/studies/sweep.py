"""A sweep: one model under one attack at several perturbation sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from robnet_zoo.attacks.base import Attack, Suite
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.target import BATCH_SIZE, EvalTarget
from robnet_zoo.runtime.files import file_name


def sweep(
    target: EvalTarget,
    attack: Attack | Suite,
    sizes: Sequence[str],
    folder: Path,
    *,
    n: int | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    resume: bool = False,
    quiet: bool = True,
) -> list[EvaluationRecord]:
    """Judge a model under one attack at several perturbation sizes.

    Args:
        target: the model, its images and its threat model.
        attack: the attack.
        sizes: such as "4/255"; the step stays in proportion.
        folder: where the records go, one a size.
        n: judge the first n images; all if None.
        seed: of all randomness.
        batch_size: images in a forward pass.
        resume: take finished records and blocks from the folder.
        quiet: show no progress bar.

    Raises:
        ZooError: a size that is none, or what `evaluate` raises.
    """
    name = file_name(f"{target.metadata.model}-{attack.name}")
    return [
        evaluate(
            target.model,
            target.split,
            [attack],
            threat_model,
            n=n,
            seed=seed,
            batch_size=batch_size,
            out=folder / f"{name}-{file_name(threat_model.epsilon.text)}.json",
            resume=resume,
            metadata=replace(target.metadata, swept=True),
            quiet=quiet,
        )
        for threat_model in map(target.threat_model.at, sizes)
    ]
