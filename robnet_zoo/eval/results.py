"""From verdicts on blocks to what the record says about an attack."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.attacks.base import Attack
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.verdicts import distances, into_ball, within
from robnet_zoo.eval.record import AttackResult, Part, Queries, Trace, bits, proportion_of
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.threat_models import ThreatModel


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The verdicts on one block, as stored in its shard; every tuple has one entry an image.

    Attributes:
        robust: survived every iterate that was judged.
        last: survived the last iterate, where it is known.
        first_broken: number of the first iterate that broke it, where iterates are known.
        trace_last, trace_any: images robust after each step, where iterates are known.
        queries: spent on the image, by attacks that count them.
        on_source: survived on the model that it was made on, of transferred images.
        found_at: distance of the broken image that a minimal attack found, wherever that lies.
    """

    indices: tuple[int, ...]
    robust: tuple[bool, ...]
    last: tuple[bool, ...] | None = None
    first_broken: tuple[int | None, ...] | None = None
    trace_last: tuple[int, ...] = ()
    trace_any: tuple[int, ...] = ()
    queries: tuple[int, ...] | None = None
    on_source: tuple[bool, ...] | None = None
    found_at: tuple[float | None, ...] | None = None
    max_perturbation: float = 0.0
    over_epsilon: int = 0
    seconds: float = 0.0
    forwards: int = 0
    backwards: int = 0
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def from_dict(stored: dict[str, Any]) -> Outcome:
    """Return what `Outcome.to_dict` wrote, read back from JSON."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
    }
    return Outcome(**values)


@torch.no_grad()
def judge(
    attack: Attack,
    output: AttackOutput,
    attacked_model: AttackedModel,
    batch: AttackBatch,
    threat_model: ThreatModel,
) -> dict[str, Any]:
    """Measure and judge what an attack returned for a batch; return fields of its Outcome.

    An image is broken if it lies within the threat model and the model misclassifies it. Images
    of minimal attacks are first moved into the ball.
    """
    adversarial, images = output.adversarial.detach().float(), batch.images
    fields: dict[str, Any] = {"indices": tuple(batch.indices.tolist())}
    if attack.traits.minimal:
        fooled = attacked_model.predict(adversarial) != batch.labels
        sizes = distances(adversarial, images, threat_model.norm)
        fields["found_at"] = tuple(
            size if yes else None for size, yes in zip(sizes.tolist(), fooled.tolist(), strict=True)
        )
        adversarial = into_ball(adversarial, images, threat_model)
    inside = within(adversarial, images, threat_model)
    fields["over_epsilon"] = int((~inside).sum())
    fields["max_perturbation"] = _largest(adversarial, images, threat_model)
    if output.queries is not None:
        fields["queries"] = tuple(int(count) for count in output.queries.tolist())
    if output.on_source is not None:
        fields["on_source"] = tuple(output.on_source.tolist())
    if output.robust_at_step is None:
        robust = (attacked_model.predict(adversarial) == batch.labels) | ~inside
        return {**fields, "robust": tuple(robust.tolist())}
    return {**fields, **_judge_steps(output.robust_at_step, output.complete)}


def _largest(adversarial: Tensor, images: Tensor, threat_model: ThreatModel) -> float:
    sizes = distances(adversarial, images, threat_model.norm)
    return float(sizes[sizes.isfinite()].amax()) if sizes.isfinite().any() else 0.0


def _judge_steps(robust_at_step: Tensor, complete: bool) -> dict[str, Any]:
    broken_so_far = robust_at_step.logical_not().cumsum(0) > 0
    robust = ~broken_so_far[-1]
    first = robust_at_step.int().argmin(0).tolist()  # the first of equal minima
    return {
        "robust": tuple(robust.tolist()),
        "last": tuple(robust_at_step[-1].tolist()) if complete else None,
        "first_broken": tuple(
            None if whole else step for step, whole in zip(first, robust.tolist(), strict=True)
        ),
        "trace_any": tuple((~broken_so_far).sum(1).tolist()),
        "trace_last": tuple(robust_at_step.sum(1).tolist()) if complete else (),
    }


def merge(
    name: str,
    settings: dict[str, Any],
    n: int,
    parts: Sequence[tuple[str, Sequence[Outcome]]],
    budget: int | None = None,
) -> AttackResult:
    """Return the result of an attack on all n images from the blocks of its parts.

    Args:
        name: of the attack or suite.
        settings: what a repetition needs.
        n: images under evaluation; those in no block of the first part are clean mistakes.
        parts: each part's name and blocks; a part meets what those before it left standing.
        budget: queries allowed an image, of an attack that counts them.
    """
    outcomes = [outcome for _, blocks in parts for outcome in blocks]
    robust = scatter(n, parts[-1][1], "robust") if parts[-1][1] else [False] * n
    alone = parts[0][1] if len(parts) == 1 and parts[0][1] else ()
    known_last = bool(alone) and alone[0].last is not None
    last = bits(scatter(n, alone, "last")) if known_last else None
    return AttackResult(
        name=name,
        settings=settings,
        robust=proportion_of(bits(robust)),
        verdicts=bits(robust),
        last=proportion_of(last) if last is not None else None,
        last_verdicts=last,
        first_broken=_first_broken(n, alone),
        trace=_trace(alone),
        parts=tuple(_part(*part) for part in parts) if len(parts) > 1 else (),
        queries=None if budget is None else _queries(alone, budget),
        on_source=_on_source(alone),
        median_distance=_median_distance(alone),
        max_perturbation=max((outcome.max_perturbation for outcome in outcomes), default=0.0),
        over_epsilon=sum(outcome.over_epsilon for outcome in outcomes),
        seconds=sum(outcome.seconds for outcome in outcomes),
        forwards=sum(outcome.forwards for outcome in outcomes),
        backwards=sum(outcome.backwards for outcome in outcomes),
    )


def scatter(n: int, outcomes: Sequence[Outcome], what: str) -> list[bool]:
    """Return a flag for each of n images from the blocks that hold them, False elsewhere."""
    flags = [False] * n
    for outcome in outcomes:
        for index, flag in zip(outcome.indices, getattr(outcome, what), strict=True):
            flags[index] = flag
    return flags


def _first_broken(n: int, outcomes: Sequence[Outcome]) -> tuple[int | None, ...] | None:
    if not outcomes or outcomes[0].first_broken is None:
        return None
    steps: list[int | None] = [0] * n  # a clean mistake needs no step
    for outcome in outcomes:
        for index, step in zip(outcome.indices, outcome.first_broken or (), strict=True):
            steps[index] = step
    return tuple(steps)


def _trace(outcomes: Sequence[Outcome]) -> Trace | None:
    if not outcomes or not outcomes[0].trace_any:
        return None
    return Trace(
        last=tuple(sum(counts) for counts in zip(*(o.trace_last for o in outcomes), strict=True)),
        any=tuple(sum(counts) for counts in zip(*(o.trace_any for o in outcomes), strict=True)),
    )


def _part(name: str, outcomes: Sequence[Outcome]) -> Part:
    return Part(
        name=name,
        attacked=sum(len(outcome.robust) for outcome in outcomes),
        broken=sum(outcome.robust.count(False) for outcome in outcomes),
        seconds=sum(outcome.seconds for outcome in outcomes),
        forwards=sum(outcome.forwards for outcome in outcomes),
        backwards=sum(outcome.backwards for outcome in outcomes),
    )


def _queries(outcomes: Sequence[Outcome], budget: int) -> Queries:
    spent = [
        count
        for outcome in outcomes
        for count, robust in zip(outcome.queries or (), outcome.robust, strict=True)
        if not robust
    ]
    return Queries(
        budget=budget,
        broken=len(spent),
        mean=statistics.fmean(spent) if spent else None,
        median=statistics.median(spent) if spent else None,
    )


def _on_source(outcomes: Sequence[Outcome]) -> Proportion | None:
    survived = [flag for outcome in outcomes for flag in outcome.on_source or ()]
    return proportion_of(bits(survived)) if survived else None


def _median_distance(outcomes: Sequence[Outcome]) -> float | None:
    found = [size for o in outcomes for size in o.found_at or () if size is not None]
    return statistics.median(found) if found else None
