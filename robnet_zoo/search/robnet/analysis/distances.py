"""FSP distances: what goes with them before any training (Fig. 7), and after it (the control).

A search that rejects by distance fine-tunes only what it keeps, so it cannot show that keeping
was worth anything. Where all candidates were fine-tuned, the figure of the control can: it holds
the rule against two that cost no more, robust accuracy with inherited weights and density.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robnet_zoo.search.robnet.analysis.correlation import (
    Findings,
    correlation,
    with_and_without_furthest,
)
from robnet_zoo.search.robnet.analysis.relations import Analysis, Rows, columns
from robnet_zoo.search.robnet.codes import deep_distance, density
from robnet_zoo.search.robnet.table import Measured, Tuned

DEEP = "deep"  # what tables call the mean over the deep cells
RULES = {"deep_distance": 1, "robust_before": -1, "density": -1}  # 1 keeps the least, -1 the most
OUTCOMES = ("robust", "gap")


def fsp_gaps(measured: Sequence[Measured]) -> Analysis:
    """Relate FSP distance to the clean accuracy minus the robust one (Fig. 7).

    The findings are those of each cell and of the mean over the deep cells.
    """
    rows: Rows = [
        {
            "number": each.number,
            "cell": cell,
            "distance": distance,
            "gap": each.clean_before - each.robust_before,
        }
        for each in measured
        for cell, distance in [*enumerate(each.distances), (DEEP, deep_distance(each.distances))]
    ]
    findings: Findings = {}
    for cell in [*range(len(measured[0].distances)), DEEP]:
        of_cell = [row for row in rows if row["cell"] == cell]
        name = DEEP if cell == DEEP else f"cell_{cell}"
        findings[name] = with_and_without_furthest(*columns(of_cell, "distance", "gap"))
    return rows, findings


def fsp_control(tuned: Sequence[Tuned]) -> Analysis:
    """Relate what is known before fine-tuning to accuracies after it.

    For each rule the findings have its correlation with robust accuracy and with clean minus
    robust accuracy, and what the quarter that it would keep has of both, against all.
    """
    rows: Rows = [
        {
            "number": each.before.number,
            "deep_distance": deep_distance(each.before.distances),
            "robust_before": each.before.robust_before,
            "density": density(each.before.codes),
            "clean": each.after.clean,
            "robust": each.after.robust,
            "gap": each.after.clean - each.after.robust,
        }
        for each in tuned
    ]
    findings: Findings = {"architectures": len(rows)}
    for rule in RULES:
        (known,) = columns(rows, rule)
        relate = with_and_without_furthest if rule == "deep_distance" else correlation
        kept = quarter(rows, rule)
        of_rule: Findings = {}
        for outcome in OUTCOMES:
            (reached,) = columns(rows, outcome)
            of_rule[outcome] = relate(known, reached) | {"quarter": _worth(kept, reached)}
        findings[rule] = of_rule
    return rows, findings


def quarter(rows: Rows, rule: str) -> np.ndarray:
    """Return which of the control's rows are in the quarter that a rule would keep."""
    (known,) = columns(rows, rule)
    kept = np.zeros(len(rows), dtype=bool)
    kept[np.argsort(RULES[rule] * known, kind="stable")[: len(rows) // 4]] = True
    return kept


def _worth(kept: np.ndarray, reached: np.ndarray) -> Findings:
    """Return the mean of those kept and of all, and the test of the kept against the others."""
    from scipy.stats import mannwhitneyu

    differ = np.ptp(reached) > 0
    p_value = mannwhitneyu(reached[kept], reached[~kept]).pvalue if differ else None
    return {
        "architectures": int(kept.sum()),
        "mean": float(reached[kept].mean()),
        "mean_of_all": float(reached.mean()),
        "difference": float(reached[kept].mean() - reached.mean()),
        "mann_whitney_p": p_value if p_value is None else float(p_value),
    }
