"""How long do four precision-recall curves of one 110^3 heatmap take?

The whole volume (1.3 million voxels) against cortex-like, ventricle-like and hippocampus-like masks and
their union: `pyadx.evaluation.precision_recall` sorts once; scikit-learn's `precision_recall_curve` and
`average_precision_score` sort for every region and figure. A smooth map has nearly as many thresholds as
voxels, an occlusion map has few. Results are compared before anything is timed.
"""

import numpy as np
import pytest

from pyadx.evaluation import precision_recall

SHAPE = (110, 110, 110)


def heatmap(kind):
    random = np.random.default_rng(0)
    heat = random.random(SHAPE, np.float32)
    if kind == "piecewise constant":
        heat = heat[::5, ::5, ::5].repeat(5, 0).repeat(5, 1).repeat(5, 2)
    return heat


def regions():
    grid = np.indices(SHAPE)
    radius = np.sqrt((((grid - 55) / 55) ** 2).sum(0))
    masks = {
        "cortex": (radius > 0.7) & (radius < 0.9),
        "ventricle": radius < 0.2,
        "hippocampus": (radius > 0.3) & (radius < 0.4) & (grid[2] < 40),
    }
    return {**masks, "union": np.logical_or.reduce(list(masks.values()))}


def ours(heat, masks):
    return {name: curve.average_precision for name, curve in precision_recall(heat, masks).items()}


def theirs(heat, masks):
    metrics = pytest.importorskip("sklearn.metrics")
    flat, found = heat.ravel(), {}
    for name, mask in masks.items():
        metrics.precision_recall_curve(mask.ravel(), flat)
        found[name] = metrics.average_precision_score(mask.ravel(), flat)
    return found


def curves_only(heat, masks):
    metrics = pytest.importorskip("sklearn.metrics")
    found = {}
    for name, mask in masks.items():
        precision, recall, _ = metrics.precision_recall_curve(mask.ravel(), heat.ravel())
        found[name] = float(-np.sum(np.diff(recall) * precision[:-1]))
    return found


CALLS = {
    "pyadx": ours,
    "scikit-learn, curve and average_precision_score": theirs,
    "scikit-learn, curve only": curves_only,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["smooth", "piecewise constant"])
def test_curves_of_four_regions(kind, name, timed):
    heat, masks = heatmap(kind), regions()
    expected = theirs(heat, masks)
    found = CALLS[name](heat, masks)
    assert found == pytest.approx(expected, abs=1e-12)
    timed(f"four regions of a 110^3 map, {kind}", name, lambda: CALLS[name](heat, masks), rounds=9)
