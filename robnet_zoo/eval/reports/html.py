"""Records as one HTML page that needs nothing but itself: tables, plots and examples.

The page is written in templates/, where every value is escaped; what they show is gathered here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.text import BOUND, LAST, PASSES, tries_several_classes
from robnet_zoo.eval.reports.examples import Example
from robnet_zoo.eval.studies.plots import class_plot, label, plots
from robnet_zoo.eval.studies.transfer_matrix import TransferMatrix, heat_map
from robnet_zoo.plotting.style import svg_element
from robnet_zoo.runtime import files
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.zoo.info import FAILED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNFOLDED = 3  # records; of more, each is folded away until asked for
MakeExamples = Callable[[EvaluationRecord], list[Example]]  # ZooError where there are none


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A plot as an SVG element, and what it shows."""

    caption: str
    svg: Markup


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page shows of one record.

    Attributes:
        record: the record.
        label: the model's name, unlike those of other models.
        drawings: plots of this record alone.
        examples: adversarial images; where there are none, `left_out` says why.
        details: everything that a repetition needs, as JSON.
    """

    record: EvaluationRecord
    label: str
    drawings: Sequence[Drawing]
    examples: Sequence[Example]
    left_out: str
    details: str


def write(
    path: Path,
    records: Sequence[EvaluationRecord],
    matrices: Sequence[TransferMatrix],
    make_examples: MakeExamples,
) -> None:
    """Write the page, atomically."""
    files.write_text(path, page(records, matrices, make_examples))


def page(
    records: Sequence[EvaluationRecord],
    matrices: Sequence[TransferMatrix],
    make_examples: MakeExamples,
) -> str:
    """Return the page.

    Args:
        records: evaluations, each a section; several are compared first.
        matrices: transfer matrices.
        make_examples: returns a record's adversarial images, or raises ZooError to say why it
            cannot.
    """
    names = dict.fromkeys(record.model.name for record in records)
    several = len(records) > 1
    return (
        _templates()
        .get_template("page.html")
        .render(
            title=f"Robustness of {', '.join(names)}" if names else "Transfer between models",
            sections=[_section(record, records, make_examples) for record in records],
            comparisons=_drawings(records) if several else [],
            folded=len(records) > UNFOLDED,
            matrices=[(matrix, _svg(heat_map(matrix), "matrix")) for matrix in matrices],
        )
    )


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "interval": _interval,
        "percent": _percent,
        "seconds": "{:,.1f} s".format,
    }
    environment.globals |= {
        "failed_mark": FAILED,
        "legend": {"last": LAST, "passes": PASSES, "bound": BOUND},
        "tries_several_classes": tries_several_classes,
    }
    return environment


def _percent(rate: Proportion) -> str:
    return f"{100 * rate.accuracy:.2f}\N{NO-BREAK SPACE}%"


def _interval(rate: Proportion) -> str:
    return f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"


def _section(
    record: EvaluationRecord, records: Sequence[EvaluationRecord], make_examples: MakeExamples
) -> Section:
    examples, left_out = [], ""
    try:
        examples = make_examples(record)
    except ZooError as error:
        left_out = str(error)
    classes = _drawing(class_plot(record), "Accuracy of each class")
    return Section(
        record=record,
        label=label(record, records),
        drawings=[*_drawings([record]), classes],
        examples=examples,
        left_out=left_out,
        details=_details(record),
    )


def _drawings(records: Sequence[EvaluationRecord]) -> list[Drawing]:
    return [_drawing(plot.draw(), plot.caption) for plot in plots(records)]


def _drawing(figure: Figure, caption: str) -> Drawing:
    return Drawing(caption=caption, svg=_svg(figure, caption))


def _svg(figure: Figure, salt: str) -> Markup:
    return Markup(svg_element(figure, salt))  # matplotlib escapes what stands in a figure


def _details(record: EvaluationRecord) -> str:
    values = {
        "model": to_builtins(record.model),
        "data": to_builtins(record.data),
        "settings": to_builtins(record.settings),
        "attacks": {result.full_name: result.settings for result in record.attacks},
        "environment": record.environment,
    }
    return json.dumps(values, indent=2, ensure_ascii=False)
