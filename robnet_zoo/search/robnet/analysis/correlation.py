"""How one property of architectures goes with another: coefficients, with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

Findings = dict[str, Any]


def correlation(x: np.ndarray, y: np.ndarray) -> Findings:
    """Return Pearson's and Spearman's coefficients with two-sided p-values.

    They are None where fewer than three points are given or one side does not vary.
    """
    from scipy.stats import pearsonr, spearmanr

    return _measured(x, y, {"pearson": pearsonr, "spearman": spearmanr})


def rank_correlation(x: np.ndarray, y: np.ndarray) -> Findings:
    """Return Spearman's and Kendall's coefficients with two-sided p-values, or None as above."""
    from scipy.stats import kendalltau, spearmanr

    return _measured(x, y, {"spearman": spearmanr, "kendall": kendalltau})


def _measured(x: np.ndarray, y: np.ndarray, measures: Mapping[str, Callable[..., Any]]) -> Findings:
    findings: Findings = {"architectures": len(x)}
    defined = len(x) >= 3 and np.ptp(x) > 0 and np.ptp(y) > 0
    for name, measure in measures.items():
        result = measure(x, y) if defined else None
        findings[name] = float(result.statistic) if result else None
        findings[f"{name}_p"] = float(result.pvalue) if result else None
    return findings


def with_and_without_furthest(x: np.ndarray, y: np.ndarray) -> Findings:
    """Return the coefficients, and those without the point of the largest x.

    A correlation that hangs on this point alone says nothing of the others.
    """
    others = np.arange(len(x)) != np.argmax(x)
    return correlation(x, y) | {"without_furthest": correlation(x[others], y[others])}


def worth(factors: dict[str, np.ndarray], outcome: np.ndarray) -> Findings:
    """Return what one more of each factor adds to the outcome, with standard errors.

    One least-squares fit with an intercept by all factors; None where they cannot be told apart.
    """
    table = np.column_stack([*factors.values(), np.ones_like(outcome)])
    free = len(outcome) - table.shape[1]
    if free < 1 or np.linalg.matrix_rank(table) < table.shape[1]:
        return {key: None for name in factors for key in (name, f"{name}_error")}
    fit, *_ = np.linalg.lstsq(table, outcome, rcond=None)
    variance = float(np.square(outcome - table @ fit).sum()) / free
    spread = np.linalg.inv(table.T @ table)
    findings: Findings = {}
    for index, name in enumerate(factors):
        findings[name] = float(fit[index])
        findings[f"{name}_error"] = math.sqrt(variance * spread[index, index])
    return findings


def in_lines(findings: Findings, name: str = "") -> Iterator[str]:
    """Yield the findings as text, those that belong together on one line."""
    plain = {key: value for key, value in findings.items() if not isinstance(value, dict)}
    if plain:
        yield f"{name}: {_line(plain)}" if name else _line(plain)
    for key, value in findings.items():
        if isinstance(value, dict):
            yield from in_lines(value, f"{name} {key}".strip())


def _line(values: Findings) -> str:
    return ", ".join(
        f"{key} {'-' if value is None else format(value, '.4g')}" for key, value in values.items()
    )
