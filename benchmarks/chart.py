"""Where the time of a step goes: a bar for each form of the network, by kind of operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.limits import REST
from robnet_zoo.plotting.style import FAINT, MUTED, canvas, palette, save

GREYS = (MUTED, FAINT)


def kinds(forms: dict[str, Any]) -> list[str]:
    """Return the kinds of operators, the longest of all forms together first, and then the rest."""
    total: dict[str, float] = {}
    for form in forms.values():
        for kind, taken in form["operators"].items():
            total[kind] = total.get(kind, 0.0) + taken
    named = sorted(total.keys() - set(REST), key=lambda kind: -total[kind])
    return [*named, *REST]


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw the profile in a record of `benchmarks.limits` as a PNG file."""
    forms: dict[str, Any] = record["forms"]
    order = kinds(forms)
    colours = [*palette(len(order) - len(REST)), *GREYS]
    with canvas(8.0, 1.3 + 0.5 * len(forms)) as figure:
        axes = figure.add_subplot()
        ends = dict.fromkeys(forms, 0.0)
        for kind, colour in zip(order, colours, strict=True):
            widths = [form["operators"].get(kind, 0.0) for form in forms.values()]
            axes.barh(list(forms), widths, left=list(ends.values()), color=colour, label=kind)
            ends = {form: end + w for (form, end), w in zip(ends.items(), widths, strict=True)}
        for row, end in enumerate(ends.values()):
            axes.annotate(f" {end:,.1f}", (end, row), va="center")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.1 * max(ends.values()))
        axes.set_xlabel(f"milliseconds an image: a step of PGD, {record['settings']['model']}")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save(figure, path)
