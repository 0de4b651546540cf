"""Studies over several evaluations: accuracy against epsilon, steps, parameters and classes.

Everything is drawn from records, so that what one run found can be drawn again with others.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.plotting import accuracy as figures
from robnet_zoo.plotting.style import save
from robnet_zoo.runtime import files
from robnet_zoo.runtime.statistics import Proportion, proportion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robnet_zoo.eval.target import EvalTarget

Lines = dict[str, list[tuple[float, Proportion]]]


def run(
    target: EvalTarget,
    attack: str,
    sizes: Sequence[str],
    folder: Path,
    *,
    n: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    resume: bool = False,
    quiet: bool = True,
) -> list[EvaluationRecord]:
    """Judge a model under one attack at several perturbation sizes.

    Args:
        target: the model, its images and its threat model.
        attack: name of the attack.
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
    from robnet_zoo.eval.evaluation import evaluate

    threats = [target.threat_model.at(size) for size in sizes]
    name = _as_file(f"{target.metadata.model}-{attack}")
    return [
        evaluate(
            target.model,
            target.split,
            [attack],
            threat,
            n=n,
            seed=seed,
            batch_size=batch_size,
            out=folder / f"{name}-{_as_file(threat.epsilon.text)}.json",
            resume=resume,
            metadata=target.metadata,
            quiet=quiet,
        )
        for threat in threats
    ]


def _as_file(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+_-]+", "-", name)


def label(report: EvaluationRecord, reports: Sequence[EvaluationRecord]) -> str:
    """Return the model's name, with its hash where another model has the same name."""
    name, sha = report.model.name, report.model.state_sha256
    same = {other.model.state_sha256 for other in reports if other.model.name == name}
    return name if len(same) == 1 else f"{name} ({sha[:6]})"


def epsilon_lines(reports: Sequence[EvaluationRecord], attack: str) -> Lines:
    """Return each model's accuracies under an attack against epsilon, from the clean one on."""
    lines: Lines = {}
    for report in sorted(reports, key=lambda report: report.threat_model.epsilon_value):
        found = [result.robust for result in report.attacks if result.name == attack]
        if found:
            points = lines.setdefault(label(report, reports), [(0.0, report.clean.accuracy)])
            points.append((report.threat_model.epsilon_value, found[0]))
    return {name: points for name, points in lines.items() if len(points) > 2}


def step_lines(reports: Sequence[EvaluationRecord], attack: str) -> Lines:
    """Return accuracies after each step of an attack whose every iterate was judged.

    One model has a line for its last iterates, as in the papers, and one for any iterate so far;
    several models have one line each, for any iterate.
    """
    lines: Lines = {}
    traced = [
        (report, result.trace)
        for report in reports
        for result in report.attacks
        if result.name == attack and result.trace is not None
    ]
    for report, trace in traced:
        counts = {label(report, reports): trace.any}
        if len(traced) == 1:
            counts = {"last iterate": trace.last, "any iterate so far": trace.any}
        for name, robust in counts.items():
            if robust:
                lines[name] = [
                    (float(step), proportion(count, report.data.n))
                    for step, count in enumerate(robust)
                ]
    return lines


def sizes(reports: Sequence[EvaluationRecord], attack: str) -> dict[str, tuple[int, Proportion]]:
    """Return each model's number of parameters and its accuracy under an attack."""
    return {
        label(report, reports): (report.model.parameters, result.robust)
        for report in reports
        for result in report.attacks
        if result.name == attack
    }


def class_plot(report: EvaluationRecord) -> Figure:
    """Draw a report's clean and robust accuracy for each class."""
    classes = report.totals.per_class
    return figures.bars(
        [one.name for one in classes],
        [one.clean / one.n for one in classes],
        [one.robust / one.n for one in classes],
    )


@dataclass(frozen=True, kw_only=True)
class Study:
    """One plot that records allow, and what stands in it.

    Attributes:
        stem: name of its files.
        caption: what it shows, in a few words.
        place: what the positions of its points are.
        lines: for each model, pairs of a position and an accuracy.
        plot: draws it.
    """

    stem: str
    caption: str
    place: str
    lines: Lines
    plot: Callable[[], Figure]


def studies(reports: Sequence[EvaluationRecord]) -> list[Study]:
    """Return every comparison that the records allow; none mixes data sets or norms."""
    found = []
    for (data, norm), group in _groups(reports, lambda r: (r.data.name, r.threat_model.norm)):
        attacks = dict.fromkeys(name for report in group for name in report.settings.attacks)
        against_size = [name for name in attacks if epsilon_lines(group, name)]
        found += [_against_epsilon(group, name, data, norm) for name in against_size]
        for (epsilon,), same in _groups(group, lambda r: (r.threat_model.epsilon,)):
            where = f"{data}, {norm} {epsilon}"
            for name in _longest(name for name in attacks if name not in against_size):
                found += _against_steps(same, name, where) + _against_parameters(same, name, where)
    return found


def _longest(names: Iterable[str]) -> list[str]:
    """Return each attack once, of pgd20 and pgd100 only the one that holds the other."""
    kept: dict[str, str] = {}
    for name in names:
        kind = name.rstrip("0123456789")
        kept[kind] = max(kept.get(kind, name), name, key=lambda name: int(name[len(kind) :] or 0))
    return list(kept.values())


def _groups(
    reports: Sequence[EvaluationRecord], key: Callable[[EvaluationRecord], tuple[str, ...]]
) -> list[tuple[tuple[str, ...], list[EvaluationRecord]]]:
    groups: dict[tuple[str, ...], list[EvaluationRecord]] = {}
    for report in reports:
        groups.setdefault(key(report), []).append(report)
    return list(groups.items())


def _against_epsilon(
    reports: Sequence[EvaluationRecord], attack: str, data: str, norm: str
) -> Study:
    lines = epsilon_lines(reports, attack)
    return Study(
        stem=_as_file(f"epsilon-{attack}-{data}"),
        caption=f"{attack} against epsilon ({data})",
        place="epsilon",
        lines=lines,
        plot=partial(figures.curves, lines, f"epsilon ({norm})"),
    )


def _against_steps(reports: Sequence[EvaluationRecord], attack: str, where: str) -> list[Study]:
    lines = step_lines(reports, attack)
    if not any(len(points) > 2 for points in lines.values()):
        return []
    return [
        Study(
            stem=_as_file(f"steps-{attack}-{where}"),
            caption=f"{attack} after each step ({where})",
            place="step",
            lines=lines,
            plot=partial(figures.curves, lines, "steps"),
        )
    ]


def _against_parameters(
    reports: Sequence[EvaluationRecord], attack: str, where: str
) -> list[Study]:
    points = sizes(reports, attack)
    if len(points) < 2:
        return []
    return [
        Study(
            stem=_as_file(f"parameters-{attack}-{where}"),
            caption=f"{attack} against parameters ({where})",
            place="parameters",
            lines={name: [(float(size), value)] for name, (size, value) in points.items()},
            plot=partial(figures.scatter, points, "accuracy (%)"),
        )
    ]


def write(study: Study, folder: Path) -> list[Path]:
    """Write a study as CSV and PNG; return their paths."""
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(["name", study.place, "n", "correct", "accuracy", "low", "high"])
    for name, points in study.lines.items():
        for at, found in points:
            rates = (f"{rate:.4f}" for rate in (found.accuracy, found.low, found.high))
            rows.writerow([name, f"{at:.10g}", found.n, found.correct, *rates])
    table, picture = (folder / f"{study.stem}.{kind}" for kind in ("csv", "png"))
    files.write_text(table, buffer.getvalue())
    save(study.plot(), picture)
    return [table, picture]
