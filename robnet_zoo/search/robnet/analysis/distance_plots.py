"""The figures of FSP distances, before any training and after fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robnet_zoo.plotting.style import INK, MUTED, PALETTE
from robnet_zoo.search.robnet.analysis.correlation import Findings
from robnet_zoo.search.robnet.analysis.distances import DEEP, quarter
from robnet_zoo.search.robnet.analysis.marks import (
    coefficients,
    dots,
    line,
    percent,
    ring_furthest,
    whole_numbers,
)
from robnet_zoo.search.robnet.analysis.relations import Rows
from robnet_zoo.search.robnet.codes import deep_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "deep_distance": "FSP distance, deep cells",
    "robust_before": "robust accuracy, inherited (%)",
    "density": "density D",
    "robust": "robust accuracy, fine-tuned (%)",
    "gap": "clean minus robust, fine-tuned (%)",
}
KEPT = {"deep_distance": "least", "robust_before": "best", "density": "densest"}
PANELS = (
    ("deep_distance", "robust"),
    ("deep_distance", "gap"),
    ("robust_before", "robust"),
    ("density", "robust"),
)


def draw_fsp_gaps(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw the gap against the FSP distance of both ends, and the correlation of all cells."""
    cells = len(findings) - 1
    panels = figure.subplots(1, 4)
    shown = {0: "cell 0", cells - 1: f"cell {cells - 1}", DEEP: "mean of the deep cells"}
    for axes, (cell, name), colour in zip(panels, shown.items(), PALETTE, strict=False):
        chosen = [row for row in rows if row["cell"] == cell]
        distances, gaps = [row["distance"] for row in chosen], percent(chosen, "gap")
        dots(axes, distances, gaps, colour)
        line(axes, distances, gaps, INK)
        ring_furthest(axes, distances, gaps)
        axes.set_xlabel(f"FSP distance, {name}")
        axes.set_title(_both(findings[DEEP if cell == DEEP else f"cell_{cell}"]))
        axes.sharey(panels[0])
    panels[0].set_ylabel("clean minus robust accuracy (%)")
    _draw_coefficients(panels[3], [findings[f"cell_{cell}"] for cell in range(cells)])
    count = findings[DEEP]["architectures"]
    figure.suptitle(f"{count} architectures with inherited weights", fontsize=11)


def _draw_coefficients(axes: Axes, of_cells: list[Findings]) -> None:
    """Draw the correlation of each cell, and the one without its furthest architecture."""
    without = [findings["without_furthest"] for findings in of_cells]
    for name, marker, colour in (("pearson", "o", PALETTE[0]), ("spearman", "s", PALETTE[1])):
        for some, face, style in ((of_cells, colour, "-"), (without, "white", ":")):
            values = {cell: each[name] for cell, each in enumerate(some) if each[name] is not None}
            label = f"{name.capitalize()}{', without ○' if some is without else ''}"
            axes.plot(
                list(values),
                list(values.values()),
                color=colour,
                linestyle=style,
                marker=marker,
                markersize=4,
                markerfacecolor=face,
                label=label,
            )
    axes.axhline(0, color=INK, linewidth=0.8)
    first = deep_cells(len(of_cells))[0]
    axes.axvspan(first - 0.5, len(of_cells) - 0.5, color=MUTED, alpha=0.15, label="deep cells")
    whole_numbers(axes.xaxis)
    axes.set(xlabel="cell", ylabel="correlation with the gap", ylim=(-1.05, 1.05))
    axes.legend(loc="best", fontsize=8)


def draw_fsp_control(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw accuracies after fine-tuning against what each rule knows before it."""
    panels = figure.subplots(1, len(PANELS))
    for axes, (rule, outcome) in zip(panels, PANELS, strict=True):
        of_both = findings[rule][outcome]
        kept = quarter(rows, rule)
        for chosen, colour, label in (
            (kept, PALETTE[1], f"{KEPT[rule]} quarter"),
            (~kept, PALETTE[0], "others"),
        ):
            some = [row for row, chose in zip(rows, chosen, strict=True) if chose]
            known = _known(some, rule)
            dots(axes, known, percent(some, outcome), colour, label)
        line(axes, _known(rows, rule), percent(rows, outcome), INK)
        if rule == "deep_distance":
            ring_furthest(axes, _known(rows, rule), percent(rows, outcome))
            axes.set_title(_both(of_both))
        else:
            axes.set_title(coefficients(of_both))
        worth = of_both["quarter"]
        p = worth["mann_whitney_p"]
        axes.set(
            xlabel=f"{LABELS[rule]}\nquarter {100 * worth['mean']:.1f} %, all "
            f"{100 * worth['mean_of_all']:.1f} %" + ("" if p is None else f" (p = {p:.2g})"),
            ylabel=LABELS[outcome],
        )
        axes.legend(loc="best", fontsize=8)
    figure.suptitle(
        f"{len(rows)} candidates, measured before any training, all fine-tuned", fontsize=11
    )


def _known(rows: Rows, rule: str) -> list[float]:
    return percent(rows, rule) if rule == "robust_before" else [row[rule] for row in rows]


def _both(findings: Findings) -> str:
    without = findings["without_furthest"]
    return f"{coefficients(findings)}\nwithout ○:\n{coefficients(without)}"
