"""Classification metrics: area under the ROC curve, and accuracy."""

from typing import Any

import numpy as np

from pyadx.extras import needed_for


def classification_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the area under the ROC curve and the accuracy.

    Parameters
    ----------
    labels : numpy.ndarray
        True classes, int ``[N]``.
    probabilities : numpy.ndarray
        ``[N, classes]``.

    Returns
    -------
    dict
        ``auc``: of class 1 against class 0; with more than two classes, the unweighted mean of the areas
        of each class against the rest. NaN if a class has no scan. ``accuracy``: share of scans whose most
        probable class is the true one.

    Raises
    ------
    ValueError
        If scikit-learn is not installed.
    """
    with needed_for("the area under a ROC curve"):
        from sklearn.metrics import roc_auc_score

    accuracy = float((probabilities.argmax(1) == labels).mean())
    present = np.unique(labels)
    if len(present) < 2:
        return {"auc": float("nan"), "accuracy": accuracy}
    scores: Any = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    area = roc_auc_score(labels, scores, multi_class="ovr", labels=np.arange(probabilities.shape[1]))
    return {"auc": float(area), "accuracy": accuracy}
