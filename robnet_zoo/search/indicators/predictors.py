"""How well indicators predict robust accuracy together, on cells that the fit did not see."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from robnet_zoo.search.indicators.statistics import Column

FOLDS, REPEATS = 5, 3


class Prediction(Struct, frozen=True, kw_only=True):
    """A predictor, judged by cross-validation.

    Attributes:
        indicators: how many it was given.
        tau: Kendall's tau of predicted and true accuracy, the mean over repetitions.
        tau_low, tau_high: the lowest and the highest of them.
        explained: the part of the accuracy's variance that it predicts (R^2), the mean.
    """

    indicators: int
    tau: float
    tau_low: float
    tau_high: float
    explained: float


def predictions(
    columns: Mapping[str, Column], target: Column, *, seed: int = 0
) -> dict[str, Prediction]:
    """Return what a linear and a gradient-boosted predictor come to, out of sample.

    Cells are split into five parts, each predicted from the other four, three times over.

    Args:
        columns: the indicators' values; those that are the same everywhere are left out.
        target: an accuracy of the same cells.
        seed: of the parts.
    """
    from scipy.stats import kendalltau
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = np.column_stack([column for column in columns.values() if np.ptp(column) > 0])
    models = {
        "linear (ridge)": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13))),
        "gradient boosting": GradientBoostingRegressor(
            n_estimators=100, learning_rate=0.05, max_depth=3, subsample=0.7, random_state=seed
        ),
    }
    results = {}
    for name, model in models.items():
        taus, explained = [], []
        for repeat in range(REPEATS):
            parts = KFold(FOLDS, shuffle=True, random_state=seed + repeat)
            predicted = cross_val_predict(model, table, target, cv=parts)
            taus.append(float(kendalltau(predicted, target).statistic))
            explained.append(float(r2_score(target, predicted)))
        results[name] = Prediction(
            indicators=table.shape[1],
            tau=float(np.mean(taus)),
            tau_low=min(taus),
            tau_high=max(taus),
            explained=float(np.mean(explained)),
        )
    return results
