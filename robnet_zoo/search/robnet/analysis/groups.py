"""The top and the bottom architectures of a study, separated by their alpha (Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robnet_zoo.search.robnet.analysis.relations import Analysis, Rows
from robnet_zoo.search.robnet.codes import FEATURE_NAMES, features
from robnet_zoo.search.robnet.table import Studied

GROUP_SIZE = 0.3  # of the architectures in each group: 300 of the paper's 1,000
FOLDS = 5  # of the classifier's cross-validation


def embedding(studied: Sequence[Studied]) -> Analysis:
    """Place the alphas of both groups in a plane by t-SNE (Fig. 4a).

    The finding is the proportion whose nearest neighbour in the plane is of the same group:
    0.5 where robust and other architectures are mixed, 1 where they are apart.
    """
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    chosen, labels = _top_and_bottom(studied)
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    places = TSNE(perplexity=perplexity, random_state=0).fit_transform(_alphas(chosen))
    nearest = NearestNeighbors(n_neighbors=1).fit(places).kneighbors(return_distance=False)[:, 0]
    rows: Rows = [
        {
            "number": each.number,
            "group": "top" if label else "bottom",
            "x": float(x),
            "y": float(y),
            "robust": each.robust,
        }
        for each, label, (x, y) in zip(chosen, labels, places, strict=True)
    ]
    alike = float((labels[nearest] == labels).mean())
    return rows, {"architectures": len(rows), "nearest_of_same_group": alike}


def edge_weights(studied: Sequence[Studied]) -> Analysis:
    """Tell the groups apart by a linear classifier on alpha; its weights (Fig. 4b).

    Next to the accuracy on the architectures that it was fitted to, which the paper reports, the
    findings have the one on architectures that were held out (five-fold cross-validation).
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    chosen, labels = _top_and_bottom(studied)
    alphas = _alphas(chosen)
    # Averaged over the steps: the last step's weights would depend much on the order of the data.
    classifier = SGDClassifier(average=True, random_state=0).fit(alphas, labels)
    folds = StratifiedKFold(min(FOLDS, int(labels.sum())), shuffle=True, random_state=0)
    held_out = cross_val_score(classifier, alphas, labels, cv=folds)
    weights = classifier.coef_[0]
    rows: Rows = []
    for name, weight in zip(FEATURE_NAMES, weights, strict=True):
        edge, operation = name.split()
        rows.append({"edge": edge, "operation": operation, "weight": float(weight)})
    return rows, {
        "architectures": len(chosen),
        "fitted_accuracy": float(classifier.score(alphas, labels)),
        "held_out_accuracy": float(held_out.mean()),
        "positive_weights": int((weights > 0).sum()),
        "weights": len(weights),
    }


def _top_and_bottom(studied: Sequence[Studied]) -> tuple[list[Studied], np.ndarray]:
    """Return the most and the least robust architectures, and 1 or 0 for each."""
    ranked = sorted(studied, key=lambda each: (-each.robust, each.number))
    size = max(2, round(GROUP_SIZE * len(ranked)))
    return ranked[:size] + ranked[-size:], np.repeat([1, 0], size)


def _alphas(studied: Sequence[Studied]) -> np.ndarray:
    """Return alpha (architectures, 28), in cell-free architectures its mean over the cells."""
    bits = [np.reshape(features(each.codes), (len(each.codes), -1)) for each in studied]
    return np.array([cells.mean(axis=0) for cells in bits])
