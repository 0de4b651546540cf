"""What makes architectures robust: the paper's Figs. 3, 5 and 6 as tables and findings.

Each function takes the architectures of a study and returns the rows of a table, which the figure
draws, and the findings, which are numbers about it. Accuracies are fractions; "robust" is under
the study's attack, after fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robnet_zoo.search.robnet.analysis.correlation import Findings, correlation, worth
from robnet_zoo.search.robnet.budget import BUDGETS, budget_of
from robnet_zoo.search.robnet.codes import convolutions, density, direct_convolutions
from robnet_zoo.search.robnet.table import Studied

Rows = list[dict[str, Any]]
Analysis = tuple[Rows, Findings]

BINS = 25  # of the histogram
EDGE_KINDS = ("all", "direct", "skip")


def before_and_after(studied: Sequence[Studied]) -> Analysis:
    """Compare robust accuracy with inherited weights and after fine-tuning (Fig. 3a)."""
    rows = [
        {"number": each.number, "before": each.robust_before, "after": each.robust}
        for each in studied
    ]
    before, after = columns(rows, "before", "after")
    return rows, {
        "mean_before": float(before.mean()),
        "mean_after": float(after.mean()),
        "improved": float((after > before).mean()),
        **correlation(before, after),
    }


def histogram(studied: Sequence[Studied]) -> Analysis:
    """Count the architectures by robust accuracy (Fig. 3b)."""
    robust = np.array([each.robust for each in studied])
    counts, edges = np.histogram(robust, bins=BINS)
    rows = [
        {"from": float(low), "to": float(high), "architectures": int(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    quantiles = np.quantile(robust, (0, 0.05, 0.5, 0.95, 1))
    names = ("lowest", "percentile_5", "median", "percentile_95", "highest")
    spread = {name: float(value) for name, value in zip(names, quantiles, strict=True)}
    return rows, {"architectures": len(robust), "mean": float(robust.mean()), **spread}


def densities(studied: Sequence[Studied]) -> Analysis:
    """Relate the density of connections to robust accuracy (Fig. 5, Eq. 2)."""
    rows = [
        {"number": each.number, "density": density(each.codes), "robust": each.robust}
        for each in studied
    ]
    return rows, correlation(*columns(rows, "density", "robust"))


def convolution_counts(studied: Sequence[Studied]) -> Analysis:
    """Relate convolutions on all, direct and skip edges to robust accuracy (Fig. 6a).

    Counts are of a cell, the mean over cells in cell-free architectures. "worth" is the robust
    accuracy that one more convolution in every cell adds on either kind of edge.
    """
    rows: Rows = []
    for each in studied:
        total, direct = (
            count(each.codes) / len(each.codes) for count in (convolutions, direct_convolutions)
        )
        kinds = dict(zip(EDGE_KINDS, (total, direct, total - direct), strict=True))
        rows.append({"number": each.number, **kinds, "robust": each.robust})
    counts = dict(zip(("direct", "skip"), columns(rows, "direct", "skip"), strict=True))
    (robust,) = columns(rows, "robust")
    findings = {kind: correlation(*columns(rows, kind, "robust")) for kind in EDGE_KINDS}
    return rows, {**findings, "worth": worth(counts, robust)}


def budgets(studied: Sequence[Studied]) -> Analysis:
    """Relate the proportion of convolutions on direct edges to robust accuracy by budget (Fig. 6b).

    Architectures without any convolution have no such proportion and are left out.
    """
    rows: Rows = [
        {
            "number": each.number,
            "budget": budget_of(each.codes),
            "convolutions": convolutions(each.codes) / len(each.codes),
            "direct_share": direct_convolutions(each.codes) / convolutions(each.codes),
            "robust": each.robust,
        }
        for each in studied
        if convolutions(each.codes)
    ]
    findings: Findings = {}
    for name in BUDGETS:
        chosen = [row for row in rows if row["budget"] == name]
        direct, robust = columns(chosen, "direct_share", "robust")
        mean = float(robust.mean()) if chosen else None
        findings[name] = {"mean_robust": mean, **correlation(direct, robust)}
    return rows, findings


def columns(rows: Rows, *names: str) -> list[np.ndarray]:
    """Return columns of a table as arrays."""
    return [np.array([row[name] for row in rows], dtype=float) for name in names]
