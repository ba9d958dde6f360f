"""ROC curves of a cross-validation."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.extras import needed_for
from pyadx.files import replacing
from pyadx.report.panels import check_figures_possible


def save_roc(path: str | os.PathLike[str], rounds: Sequence[dict[str, Any]], title: str) -> None:
    """Draw the ROC curve of every round, and their mean at equal false positive rates.

    Parameters
    ----------
    path : path
        PNG file. It appears complete or not at all.
    rounds : sequence of dict
        Results of the rounds, as `pyadx.training.rounds.run_round` returns them. With two classes, the
        second one is positive. With more, the first class is drawn against all others. Rounds that test
        only one of the two are skipped.
    title : str
        Title of the figure.

    Raises
    ------
    ValueError
        If Matplotlib or scikit-learn is not installed.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with needed_for("a ROC curve"):
        from sklearn.metrics import roc_curve

    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--", color="0.6", linewidth=0.8)
    steps = np.linspace(0, 1, 201)
    curves, areas = [], []
    for result in rounds:
        names = result["class_names"]
        positive = 1 if len(names) == 2 else 0
        truth = np.array([test["label"] == names[positive] for test in result["test"]])
        if truth.all() or not truth.any():
            continue
        scores = np.array([test["probabilities"][positive] for test in result["test"]])
        false, true, _ = roc_curve(truth, scores)
        axes.step(false, true, where="post", color="C0", alpha=0.25, linewidth=0.8)
        curves.append(np.interp(steps, false, true))
        areas.append(result["auc"])
    if curves:
        area = np.mean(areas)
        axes.plot(
            steps, np.mean(curves, axis=0), color="C0", label=f"mean of {len(curves)}, AUC {area:.3f}"
        )
        axes.legend(loc="lower right")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axes.set_title(title, fontsize=9)
    with replacing(Path(path)) as (partial,):
        figure.savefig(partial, dpi=150, facecolor="white", format="png")
