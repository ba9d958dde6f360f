"""Localisation figures equal slow references and scikit-learn, ties included."""

import numpy as np
import pytest
from reference import localization as slow

from pyadx.evaluation.curves import precision_recall
from pyadx.evaluation.region_scores import bootstrap_mean, localization, pooled_curves

metrics = pytest.importorskip("sklearn.metrics")


def maps(seed, levels, shape=(9, 8, 7)):
    random = np.random.default_rng(seed)
    heat = random.random(shape, np.float32)
    if levels:  # piecewise constant, as occlusion maps are
        heat = np.floor(heat * levels).astype(np.float32) / levels
    mask = np.zeros(shape, bool)
    mask[2:5, 1:6, 3:] = True
    return heat, mask


@pytest.mark.parametrize("levels", [0, 1, 3, 20])
@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_the_slow_reference(seed, levels):
    heat, mask = maps(seed, levels)
    if levels == 1:
        heat[:] = 0.5  # a constant map says nothing: every figure is the prevalence
    score = localization(heat, {"r": mask})["r"]
    assert score.average_precision == pytest.approx(slow.average_precision(heat, mask), abs=1e-12)
    assert score.pointing == pytest.approx(slow.pointing(heat, mask))
    assert score.relevance_mass == pytest.approx(slow.relevance_mass(heat, mask), rel=1e-5)
    random = np.random.default_rng(0)
    assert score.relevance_rank == pytest.approx(slow.relevance_rank(heat, mask, random), abs=0.02)
    assert score.prevalence == mask.mean()


@pytest.mark.parametrize("levels", [0, 7])
def test_curves_equal_scikit_learn(levels):
    heat, mask = maps(4, levels, (30, 31, 29))
    regions = {"a": mask, "b": heat > 0.7, "c": np.random.default_rng(1).random(heat.shape) < 0.1}
    for name, curve in precision_recall(heat, regions).items():
        y = regions[name].ravel()
        precision, recall, thresholds = metrics.precision_recall_curve(y, heat.ravel())
        assert np.allclose(curve.precision[::-1], precision[:-1], rtol=0, atol=1e-15)
        assert np.allclose(curve.recall[::-1], recall[:-1], rtol=0, atol=1e-15)
        assert np.array_equal(curve.thresholds[::-1], thresholds)
        expected = metrics.average_precision_score(y, heat.ravel())
        assert curve.average_precision == pytest.approx(expected, abs=1e-12)


def test_a_perfect_map_has_ap_1_and_a_random_one_the_prevalence():
    _, mask = maps(0, 0, (40, 40, 40))
    score = localization(mask.astype(np.float32), {"r": mask})["r"]
    assert (score.average_precision, score.pointing, score.relevance_mass, score.relevance_rank) == (
        1,
        1,
        1,
        1,
    )
    chance = [
        localization(np.random.default_rng(s).random(mask.shape), {"r": mask})["r"].average_precision
        for s in range(20)
    ]
    error = np.std(chance) / np.sqrt(len(chance))
    assert abs(np.mean(chance) - mask.mean()) < max(4 * error, 0.1 * mask.mean())


def test_only_voxels_inside_count_and_signs_do_not():
    heat, mask = maps(1, 0)
    inside = np.zeros(heat.shape, bool)
    inside[1:8, 1:7, 1:6] = True
    changed = np.where(inside, heat, 100.0)
    signed = np.where(np.random.default_rng(0).random(heat.shape) < 0.5, -changed, changed)
    score = localization(signed, {"r": mask}, inside)["r"]
    assert score.average_precision == pytest.approx(slow.average_precision(heat[inside], mask[inside]))
    assert score.prevalence == mask[inside].mean()


def test_pooling_is_concatenation():
    one, two = maps(1, 5), maps(2, 5, (5, 6, 8))
    pooled = pooled_curves([one[0], two[0]], [{"r": one[1]}, {"r": two[1]}])["r"]
    both = np.concatenate([one[0].ravel(), two[0].ravel()])
    truth = np.concatenate([one[1].ravel(), two[1].ravel()])
    assert pooled.average_precision == pytest.approx(slow.average_precision(both, truth))
    with pytest.raises(ValueError, match="every scan needs the regions r"):
        pooled_curves([one[0], two[0]], [{"r": one[1]}, {"q": two[1]}])


def test_thinning_keeps_the_ends_and_lies_on_the_curve():
    heat, mask = maps(3, 0, (30, 30, 30))
    curve = precision_recall(heat, {"r": mask})["r"]
    recall, precision = curve.thinned(50)
    assert len(recall) <= 50
    assert recall[-1] == 1
    points = set(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True))
    assert set(zip(recall.tolist(), precision.tolist(), strict=True)) <= points


def test_bootstrap_interval_covers_the_mean_at_its_level():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_mean(random.normal(1.0, 0.3, 30), seed=trial)
        covered += low <= 1.0 <= high
    assert 0.88 < covered / 200 <= 0.99
    assert all(np.isnan(bootstrap_mean([0.4])))


@pytest.mark.parametrize(
    ("heat", "mask", "words"),
    [
        (np.full((3, 3, 3), np.nan), np.eye(3, dtype=bool)[None].repeat(3, 0), "NaN or infinity"),
        (np.zeros((3, 3, 3)), np.zeros((3, 3, 3), bool), "is empty among the evaluated voxels"),
        (np.zeros((3, 3, 3)), np.ones((3, 3, 3), bool), "covers all of the evaluated voxels"),
        (np.zeros((3, 3, 3)), np.ones((3, 3, 2), bool), "has shape"),
        (np.zeros((0, 3, 3)), np.zeros((0, 3, 3), bool), "no voxels"),
    ],
)
def test_bad_input_is_told(heat, mask, words):
    with pytest.raises(ValueError, match=words):
        localization(heat, {"r": mask})
