"""What records allow to be drawn: accuracy against epsilon, steps and parameters, and by class.

Every plot has its numbers beside it as CSV. None mixes data sets or norms.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.attacks.registry import heading
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.studies.security import security_curve
from robnet_zoo.plotting import accuracy
from robnet_zoo.plotting.style import save
from robnet_zoo.runtime.files import file_name, write_text
from robnet_zoo.runtime.statistics import Proportion, proportion
from robnet_zoo.runtime.tables import csv_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Lines = dict[str, list[tuple[float, Proportion]]]
HEADER = ("n", "correct", "accuracy", "low", "high")


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot that records allow, and what stands in it.

    Attributes:
        stem: name of its files.
        caption: attack, images and their number, in a few words; the figure's title.
        axis: what the positions of its points are.
        lines: for each model, pairs of a position and an accuracy.
        draw: draws it.
    """

    stem: str
    caption: str
    axis: str
    lines: Lines
    draw: Callable[[], Figure]


def plots(records: Sequence[EvaluationRecord]) -> list[Plot]:
    """Return every comparison that the records allow; none mixes data sets or norms."""
    allowed = []
    for (data, norm), group in _groups(records, lambda r: (r.data.name, r.threat_model.norm)):
        attacks = dict.fromkeys(name for record in group for name in record.attack_names)
        against_size = [name for name in attacks if epsilon_lines(group, name)]
        allowed += [_against_epsilon(group, name, data, norm) for name in against_size]
        allowed += [plot for name in attacks for plot in _security(group, name)]
        for _, same in _groups(group, lambda r: (r.threat_model.epsilon,)):
            for name in _longest(name for name in attacks if name not in against_size):
                allowed += _against_steps(same, name)
                allowed += _against_parameters(same, name)
    return allowed


def against_epsilon(
    stem: str, caption: str, lines: Lines, norm: str, stepped: Collection[str] = ()
) -> Plot:
    """Return a plot of accuracies against epsilon in a norm; `stepped` lines fall in steps."""
    return Plot(
        stem=stem,
        caption=caption,
        axis="epsilon",
        lines=lines,
        draw=partial(accuracy.curves, lines, f"epsilon ({norm})", caption, stepped),
    )


def write_plot(plot: Plot, folder: Path) -> list[Path]:
    """Write a plot as CSV and PNG; return their paths."""
    rows = [
        [name, f"{position:.10g}", rate.n, rate.correct, *_fractions(rate)]
        for name, points in plot.lines.items()
        for position, rate in points
    ]
    table, picture = (folder / f"{plot.stem}.{kind}" for kind in ("csv", "png"))
    write_text(table, csv_table(["name", plot.axis, *HEADER], rows))
    save(plot.draw(), picture)
    return [table, picture]


def class_plot(record: EvaluationRecord) -> Figure:
    """Draw a record's clean and robust accuracy for each class."""
    classes = record.totals.per_class
    return accuracy.bars(
        [totals.name for totals in classes],
        [totals.clean / totals.n for totals in classes],
        [totals.robust / totals.n for totals in classes],
        f"{record.model.name} under {', '.join(map(heading, record.attack_names))} "
        f"({_where([record])})",
    )


def label(record: EvaluationRecord, records: Sequence[EvaluationRecord]) -> str:
    """Return the model's name, with its hash where another model has the same name."""
    name, sha = record.model.name, record.model.state_sha256
    same = {other.model.state_sha256 for other in records if other.model.name == name}
    return name if len(same) == 1 else f"{name} ({sha[:6]})"


def epsilon_lines(records: Sequence[EvaluationRecord], attack: str) -> Lines:
    """Return each model's accuracies under an attack against epsilon, from the clean one on."""
    lines: Lines = {}
    for record in sorted(records, key=lambda record: record.threat_model.epsilon_value):
        rates = [result.robust for result in record.attacks if result.full_name == attack]
        if rates:
            points = lines.setdefault(label(record, records), [(0.0, record.clean.accuracy)])
            points.append((record.threat_model.epsilon_value, rates[0]))
    return {name: points for name, points in lines.items() if len(dict(points)) > 2}


def step_lines(records: Sequence[EvaluationRecord], attack: str) -> Lines:
    """Return accuracies after each step of an attack whose every iterate was judged.

    One model has a line for its last iterates, as in the papers, and one for any iterate so far;
    several models have one line each, for any iterate.
    """
    lines: Lines = {}
    traced = [
        (record, result.trace)
        for record in records
        for result in record.attacks
        if result.full_name == attack and result.trace is not None
    ]
    for record, trace in traced:
        counts = {label(record, records): trace.any}
        if len(traced) == 1:
            counts = {"last iterate": trace.last, "any iterate so far": trace.any}
        for name, robust in counts.items():
            if robust:
                lines[name] = [
                    (float(step), proportion(count, record.data.n))
                    for step, count in enumerate(robust)
                ]
    return lines


def parameter_points(
    records: Sequence[EvaluationRecord], attack: str
) -> dict[str, tuple[int, Proportion]]:
    """Return each model's number of parameters and its accuracy under an attack."""
    return {
        label(record, records): (record.model.parameters, result.robust)
        for record in records
        for result in record.attacks
        if result.full_name == attack
    }


def _longest(names: Iterable[str]) -> list[str]:
    """Return each attack once, of pgd20 and pgd100 only the one that holds the other."""
    kept: dict[str, str] = {}
    for name in names:
        kind = name.rstrip("0123456789")
        kept[kind] = max(kept.get(kind, name), name, key=lambda name: int(name[len(kind) :] or 0))
    return list(kept.values())


def _groups(
    records: Sequence[EvaluationRecord], key: Callable[[EvaluationRecord], tuple[str, ...]]
) -> list[tuple[tuple[str, ...], list[EvaluationRecord]]]:
    groups: dict[tuple[str, ...], list[EvaluationRecord]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.items())


def _against_epsilon(
    records: Sequence[EvaluationRecord], attack: str, data: str, norm: str
) -> Plot:
    caption = f"{heading(attack)} against epsilon ({data}, {norm}, {_images(records)})"
    stem = file_name(f"epsilon-{attack}-{data}-{norm}")
    return against_epsilon(stem, caption, epsilon_lines(records, attack), norm)


def _security(records: Sequence[EvaluationRecord], attack: str) -> list[Plot]:
    lines: Lines = {
        label(record, records): points
        for record in records
        for result in record.attacks
        if result.full_name == attack and (points := security_curve(record, result))
    }
    if not lines:
        return []
    data, norm = records[0].data.name, records[0].threat_model.norm
    caption = f"{heading(attack)}: accuracy at most ({data}, {norm}, {_images(records)})"
    return [against_epsilon(file_name(f"security-{attack}-{data}-{norm}"), caption, lines, norm)]


def _against_steps(records: Sequence[EvaluationRecord], attack: str) -> list[Plot]:
    lines = step_lines(records, attack)
    if not any(len(points) > 2 for points in lines.values()):
        return []
    caption = f"{heading(attack)} after each step ({_where(records)})"
    return [
        Plot(
            stem=file_name(f"steps-{attack}-{_threat(records[0])}"),
            caption=caption,
            axis="step",
            lines=lines,
            draw=partial(accuracy.curves, lines, "steps", caption),
        )
    ]


def _against_parameters(records: Sequence[EvaluationRecord], attack: str) -> list[Plot]:
    points = parameter_points(records, attack)
    if len(points) < 2:
        return []
    caption = f"{heading(attack)} against parameters ({_where(records)})"
    return [
        Plot(
            stem=file_name(f"parameters-{attack}-{_threat(records[0])}"),
            caption=caption,
            axis="parameters",
            lines={name: [(float(size), rate)] for name, (size, rate) in points.items()},
            draw=partial(accuracy.scatter, points, "accuracy (%)", caption),
        )
    ]


def _threat(record: EvaluationRecord) -> str:
    return f"{record.data.name}, {record.threat_model.title}"


def _images(records: Sequence[EvaluationRecord]) -> str:
    """Return on how many images the records are, such as "n = 450"."""
    counts = sorted({record.data.n for record in records})
    return f"n = {counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "")


def _where(records: Sequence[EvaluationRecord]) -> str:
    return f"{_threat(records[0])}, {_images(records)}"


def _fractions(rate: Proportion) -> list[str]:
    return [f"{value:.4f}" for value in (rate.accuracy, rate.low, rate.high)]
