"""How well class probabilities tell classes apart."""

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
        ``auc``: of class 1 against class 0; with more classes the mean over one class against the rest. NaN
        where only one class is present. ``accuracy``: share of scans whose most probable class is the
        true one.
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
