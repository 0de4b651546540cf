"""Cheaper attacks against AutoAttack, image by image: what they miss, and what they cost.

Records of the same weights, images and threat model are put together; those without AutoAttack
are left out. Passes are images passed through the model, forwards and backwards, for each image
that is classified correctly without an attack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from robnet_zoo.attacks.registry import heading
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.results import AttackResult
from robnet_zoo.eval.studies.plots import Plot
from robnet_zoo.plotting import accuracy
from robnet_zoo.runtime.files import file_name
from robnet_zoo.runtime.statistics import proportion

REFERENCE = "autoattack"
CHEAP = ("pgd20", "pgd100", "apgd-ce", "apgd-t", "pgd-margin", "cr")


@dataclass(frozen=True)
class Judged:
    """What several attacks did to one model on the same images."""

    record: EvaluationRecord
    results: dict[str, AttackResult]

    @property
    def reference(self) -> AttackResult:
        """What AutoAttack did."""
        return self.results[REFERENCE]


@dataclass(frozen=True)
class Agreement:
    """A cheaper attack beside AutoAttack on the same images.

    Attributes:
        missed: images that AutoAttack broke and it did not.
        more: images that it broke and AutoAttack did not.
        points: by how much the accuracy under it is higher, in percentage points.
        cost: its passes in parts of AutoAttack's.
    """

    missed: int
    more: int
    points: float
    cost: float


def judged(records: Iterable[EvaluationRecord]) -> list[Judged]:
    """Put records of the same weights, images and threat model together."""
    groups: dict[tuple[object, ...], Judged] = {}
    for record in records:
        key = record.model.state_sha256, record.data.sha256, record.threat_model.ball
        group = groups.setdefault(key, Judged(record, {}))
        group.results.update({result.full_name: result for result in record.attacks})
    return [
        group
        for group in groups.values()
        if REFERENCE in group.results and group.results.keys() & set(CHEAP)
    ]


def agreement(model: Judged, attack: str) -> Agreement:
    """Return how an attack of a model compares with AutoAttack."""
    ours, theirs = model.results[attack], model.reference
    pairs = list(zip(ours.verdicts, theirs.verdicts, strict=True))
    missed, more = pairs.count(("1", "0")), pairs.count(("0", "1"))
    return Agreement(
        missed=missed,
        more=more,
        points=100 * (missed - more) / len(pairs),
        cost=_passes(ours) / max(1, _passes(theirs)),
    )


def curve(model: Judged, attack: str) -> list[tuple[int, int]]:
    """Return after how many passes over all images how many stand.

    Attacks whose every step was judged have a point for each step, at the cost of leaving broken
    images alone; a suite has one behind each part; all others have their end alone.
    """
    result, correct = model.results[attack], model.record.clean.accuracy.correct
    if result.parts:
        passes = accumulate(part.forwards + part.backwards for part in result.parts)
        standing = (part.attacked - part.broken for part in result.parts)
        return list(zip(passes, standing, strict=True))
    if result.trace is None or result.settings.get("restarts", 1) != 1:
        return [(_passes(result), result.robust.correct)]
    pursued = [correct, *result.trace.any[:-1]]
    spent = [0, *accumulate(2 * images for images in pursued)]
    steps = zip(spent, pursued, result.trace.any, strict=False)
    return [(before + images, standing) for before, images, standing in steps]


def plots(models: Sequence[Judged]) -> list[Plot]:
    """Return accuracy against passes, all models of the same data and threat model as one."""
    groups: dict[tuple[str, str, str], list[Judged]] = {}
    for model in models:
        threat = model.record.threat_model
        key = model.record.data.name, threat.norm, threat.epsilon
        groups.setdefault(key, []).append(model)
    return [_plot(group, f"{data}, {norm} {size}") for (data, norm, size), group in groups.items()]


def _plot(models: Sequence[Judged], where: str) -> Plot:
    images = sum(model.record.data.n for model in models)
    attacked = sum(model.record.clean.accuracy.correct for model in models)
    lines = {}
    for name in (*CHEAP, REFERENCE):
        if all(name in model.results for model in models):
            curves = zip(*(curve(model, name) for model in models), strict=True)
            parts = models[0].results[name].parts
            names = f" ({', '.join(part.name for part in parts)})" if parts else ""
            lines[f"{heading(name)}{names}"] = [
                (
                    sum(passes for passes, _ in points) / attacked,
                    proportion(sum(standing for _, standing in points), images),
                )
                for points in curves
            ]
    networks = f"{len(models)} network{'s' * (len(models) != 1)}"
    caption = f"accuracy after passes an image ({where}, {networks}, n = {images:,})"
    return Plot(
        stem=file_name(f"judges-{where}"),
        caption=caption,
        axis="passes",
        lines=lines,
        draw=partial(accuracy.against_cost, lines, "passes an image", caption),
    )


def _passes(result: AttackResult) -> int:
    return result.forwards + result.backwards
