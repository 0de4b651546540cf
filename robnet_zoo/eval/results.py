"""From verdicts on blocks to what the record says about an attack."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from msgspec import Struct
from torch import Tensor

from robnet_zoo.attacks.base import Attack
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.verdicts import distances, into_ball, valid_pixels, within
from robnet_zoo.eval import draws
from robnet_zoo.eval.record.fields import bits, proportion_of
from robnet_zoo.eval.record.results import (
    AttackResult,
    ClassTotals,
    Part,
    Passes,
    Queries,
    Totals,
    Trace,
)
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.threat_models import ThreatModel


class BlockResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The verdicts on one block, as stored in its shard; every tuple has one entry an image.

    Attributes:
        robust: survived every iterate that was judged.
        last: survived the last iterate, where it is known.
        first_broken: number of the first iterate that broke it, where iterates are known.
        trace_last, trace_any: images robust after each step, where iterates are known.
        queries: spent on the image, by attacks that count them.
        on_source: survived on the model that it was made on, of transferred images.
        found_at: distance of the broken image that a minimal attack found, wherever that lies.
        drawn: verdicts of each draw by itself on the returned images, of a randomised model.
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
    drawn: tuple[str, ...] = ()
    max_perturbation: float = 0.0
    over_epsilon: int = 0
    seconds: float = 0.0
    forwards: int = 0
    backwards: int = 0
    warnings: tuple[str, ...] = ()


@torch.no_grad()
def judge(
    attack: Attack,
    output: AttackOutput,
    attacked_model: AttackedModel,
    batch: AttackBatch,
    threat_model: ThreatModel,
) -> dict[str, Any]:
    """Measure and judge what an attack returned for a batch; return fields of its result.

    An image is broken if it lies within the threat model and the model misclassifies it. Images
    of minimal attacks are first moved into the ball.
    """
    adversarial, images = output.adversarial.detach().float(), batch.images
    fields: dict[str, Any] = {"indices": tuple(batch.indices.tolist())}
    if attack.traits.minimal:
        fooled = attacked_model.predict(adversarial) != batch.labels
        fooled &= valid_pixels(adversarial)
        sizes = distances(adversarial, images, threat_model.norm)
        fields["found_at"] = tuple(
            size if yes else None for size, yes in zip(sizes.tolist(), fooled.tolist(), strict=True)
        )
        adversarial = into_ball(adversarial, images, threat_model)
    inside = within(adversarial, images, threat_model)
    fields["over_epsilon"] = int((~inside).sum())
    fields["max_perturbation"] = _largest(adversarial, images, threat_model)
    if attacked_model.adaptive.draws > 1:
        logits = attacked_model.draw(adversarial)
        fields["drawn"] = draws.verdicts(logits, batch.labels, excused=~inside)
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
    parts: Sequence[tuple[str, Sequence[BlockResult]]],
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
    every = [block for _, blocks in parts for block in blocks]
    robust = scatter(n, parts[-1][1], "robust") if parts[-1][1] else [False] * n
    attacked = sum(len(block.robust) for block in parts[0][1])
    forwards = sum(block.forwards for block in every)
    backwards = sum(block.backwards for block in every)
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
        distances=_distances(n, alone),
        max_perturbation=max((block.max_perturbation for block in every), default=0.0),
        over_epsilon=sum(block.over_epsilon for block in every),
        seconds=sum(block.seconds for block in every),
        forwards=forwards,
        backwards=backwards,
        passes=Passes.mean(forwards, backwards, attacked),
        draws=draws.merge(n, ((block.indices, block.drawn) for block in every if block.drawn)),
    )


def total(
    correct: Sequence[bool],
    attacks: Sequence[AttackResult],
    labels: Sequence[int],
    class_names: Sequence[str],
) -> Totals:
    """Return the verdict over all attacks, and that of each class.

    Args:
        correct: whether each image is classified correctly without an attack.
        attacks: what each of them did.
        labels: of the images.
        class_names: one a class; numbers stand for those that have none.
    """
    each = (attack.flags for attack in attacks)
    robust = [all(flags) for flags in zip(correct, *each, strict=True)]
    return Totals(
        robust=proportion_of(bits(robust)),
        verdicts=bits(robust),
        clean_mistakes=tuple(index for index, right in enumerate(correct) if not right),
        per_class=tuple(
            ClassTotals(
                label=label,
                name=class_names[label] if label < len(class_names) else str(label),
                n=labels.count(label),
                clean=sum(ok for ok, own in zip(correct, labels, strict=True) if own == label),
                robust=sum(ok for ok, own in zip(robust, labels, strict=True) if own == label),
            )
            for label in sorted(set(labels))
        ),
        seconds=round(sum(attack.seconds for attack in attacks), 3),
    )


def scatter(n: int, blocks: Sequence[BlockResult], what: str) -> list[bool]:
    """Return a flag for each of n images from the blocks that hold them, False elsewhere."""
    flags = [False] * n
    for block in blocks:
        for index, flag in zip(block.indices, getattr(block, what), strict=True):
            flags[index] = flag
    return flags


def _first_broken(n: int, blocks: Sequence[BlockResult]) -> tuple[int | None, ...] | None:
    if not blocks or blocks[0].first_broken is None:
        return None
    steps: list[int | None] = [0] * n  # a clean mistake needs no step
    for block in blocks:
        for index, step in zip(block.indices, block.first_broken or (), strict=True):
            steps[index] = step
    return tuple(steps)


def _trace(blocks: Sequence[BlockResult]) -> Trace | None:
    if not blocks or not blocks[0].trace_any:
        return None
    return Trace(
        last=tuple(map(sum, zip(*(block.trace_last for block in blocks), strict=True))),
        any=tuple(map(sum, zip(*(block.trace_any for block in blocks), strict=True))),
    )


def _part(name: str, blocks: Sequence[BlockResult]) -> Part:
    return Part(
        name=name,
        attacked=sum(len(block.robust) for block in blocks),
        broken=sum(block.robust.count(False) for block in blocks),
        seconds=sum(block.seconds for block in blocks),
        forwards=sum(block.forwards for block in blocks),
        backwards=sum(block.backwards for block in blocks),
    )


def _queries(blocks: Sequence[BlockResult], budget: int) -> Queries:
    spent = [
        count
        for block in blocks
        for count, robust in zip(block.queries or (), block.robust, strict=True)
        if not robust
    ]
    return Queries(
        budget=budget,
        broken=len(spent),
        mean=statistics.fmean(spent) if spent else None,
        median=statistics.median(spent) if spent else None,
    )


def _on_source(blocks: Sequence[BlockResult]) -> Proportion | None:
    survived = [flag for block in blocks for flag in block.on_source or ()]
    return proportion_of(bits(survived)) if survived else None


def _distances(
    n: int, blocks: Sequence[BlockResult]
) -> tuple[float | None, ...] | msgspec.UnsetType:
    if not blocks or blocks[0].found_at is None:
        return msgspec.UNSET
    sizes: list[float | None] = [0.0] * n  # a clean mistake needs no change
    for block in blocks:
        for index, size in zip(block.indices, block.found_at or (), strict=True):
            sizes[index] = None if size is None else float(f"{size:.7g}")
    return tuple(sizes)


def _median_distance(blocks: Sequence[BlockResult]) -> float | None:
    sizes = [size for block in blocks for size in block.found_at or () if size is not None]
    return statistics.median(sizes) if sizes else None
