"""The figures of the analysis, each drawn from its table and findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robnet_zoo.plotting.style import INK, MUTED, PALETTE
from robnet_zoo.search.robnet.analysis.correlation import Findings
from robnet_zoo.search.robnet.analysis.marks import (
    coefficients,
    dots,
    legend_above,
    line,
    percent,
    whole_numbers,
)
from robnet_zoo.search.robnet.analysis.relations import EDGE_KINDS, Rows
from robnet_zoo.search.robnet.budget import BUDGETS
from robnet_zoo.search.robnet.codes import DIRECT_EDGES, EDGE_NAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROBUST = "robust accuracy (%)"


def draw_before_and_after(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw both accuracies of each architecture against each other."""
    axes = figure.subplots()
    before, after = percent(rows, "before"), percent(rows, "after")
    ends = [min(*before, *after), max(*before, *after)]
    axes.plot(ends, ends, color=MUTED, linestyle="--", linewidth=1, label="no change")
    dots(axes, before, after, PALETTE[0])
    axes.set(xlabel="robust accuracy with inherited weights (%)", ylabel=f"{ROBUST}, fine-tuned")
    axes.set_title(
        f"{len(rows)} architectures: mean {100 * findings['mean_before']:.1f} % before, "
        f"{100 * findings['mean_after']:.1f} % after"
    )
    axes.legend(loc="lower right")


def draw_histogram(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw how many architectures have which robust accuracy."""
    axes = figure.subplots()
    starts = percent(rows, "from")
    widths = [end - start for start, end in zip(starts, percent(rows, "to"), strict=True)]
    counts = [row["architectures"] for row in rows]
    axes.bar(starts, counts, widths, align="edge", color=PALETTE[0], edgecolor="white")
    mean = 100 * findings["mean"]
    axes.axvline(mean, color=PALETTE[1], linestyle="--", label=f"mean {mean:.1f} %")
    whole_numbers(axes.yaxis)
    axes.set(
        xlabel=ROBUST, ylabel="architectures", title=f"{findings['architectures']} architectures"
    )
    legend_above(axes)


def draw_embedding(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw the plane of t-SNE, both groups in their colours."""
    axes = figure.subplots()
    for group, colour in zip(("top", "bottom"), PALETTE, strict=False):
        chosen = [row for row in rows if row["group"] == group]
        label = f"{group} {len(chosen)} by robust accuracy"
        dots(axes, [row["x"] for row in chosen], [row["y"] for row in chosen], colour, label)
    axes.set(xticks=[], yticks=[], xlabel="t-SNE of alpha")
    alike = 100 * findings["nearest_of_same_group"]
    axes.set_title(f"nearest neighbour in the same group: {alike:.0f} %")
    legend_above(axes)


def draw_edge_weights(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw the classifier's weight of both operations on each edge."""
    axes = figure.subplots()
    for offset, operation, colour in ((-0.2, "conv", PALETTE[0]), (0.2, "identity", PALETTE[1])):
        weights = [row["weight"] for row in rows if row["operation"] == operation]
        places = [place + offset for place in range(len(weights))]
        axes.bar(places, weights, 0.38, color=colour, label=operation)
    names = [f"{name}*" if i in DIRECT_EDGES else name for i, name in enumerate(EDGE_NAMES)]
    axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(visible=False, axis="x")
    axes.set(ylabel="weight", xlabel="edge (* direct)")
    axes.set_title(
        f"accuracy {100 * findings['fitted_accuracy']:.1f} % fitted, "
        f"{100 * findings['held_out_accuracy']:.1f} % held out; "
        f"{findings['positive_weights']} of {findings['weights']} weights positive"
    )
    legend_above(axes)


def draw_densities(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw robust accuracy against density."""
    axes = figure.subplots()
    density = [row["density"] for row in rows]
    dots(axes, density, percent(rows, "robust"), PALETTE[0])
    line(axes, density, percent(rows, "robust"), PALETTE[1])
    axes.set(xlabel="density D", ylabel=ROBUST, title=coefficients(findings))


def draw_convolution_counts(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw robust accuracy against the convolutions on all, direct and skip edges."""
    panels = figure.subplots(1, len(EDGE_KINDS), sharey=True)
    for axes, kind, colour in zip(panels, EDGE_KINDS, PALETTE, strict=False):
        counts = [row[kind] for row in rows]
        dots(axes, counts, percent(rows, "robust"), colour)
        line(axes, counts, percent(rows, "robust"), INK)
        whole_numbers(axes.xaxis)
        axes.set(xlabel=f"convolutions, {kind} edges", title=coefficients(findings[kind]))
    panels[0].set_ylabel(ROBUST)


def draw_budgets(figure: Figure, rows: Rows, findings: Findings) -> None:
    """Draw robust accuracy against the direct share, a colour and a line for each budget."""
    axes = figure.subplots()
    for budget, colour in zip(BUDGETS, PALETTE, strict=False):
        chosen = [row for row in rows if row["budget"] == budget]
        direct, robust = [row["direct_share"] for row in chosen], percent(chosen, "robust")
        label = f"{budget} ({len(chosen)}): {coefficients(findings[budget])}".replace("\n", ", ")
        dots(axes, direct, robust, colour, label)
        line(axes, direct, robust, colour)
    axes.set(xlabel="share of convolutions on direct edges", ylabel=ROBUST)
    legend_above(axes, columns=1)
