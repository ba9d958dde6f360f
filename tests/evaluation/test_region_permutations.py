"""Permutations of regions, against SciPy, against all relabellings, and where nothing is to be found."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from pyadx.evaluation.groups import Covariate, Design, compare_groups, make_design
from pyadx.evaluation.groups.region_permutations import permute_regions
from pyadx.evaluation.groups.region_statistics import group_table, shuffled_findings


def shares(generator, subjects, regions):
    """Heavy-tailed values that sum to one per subject, as shares of a map are."""
    grown = np.exp(1.2 * generator.normal(size=(subjects, regions)))
    return grown / grown.sum(1, keepdims=True)


def test_p_is_that_of_all_relabellings_of_few_subjects():
    values = shares(np.random.default_rng(0), 8, 3)
    design = Design(np.arange(8) < 4)
    t = compare_groups(values, design).t
    every = []
    for chosen in combinations(range(8), 4):
        first = np.isin(np.arange(8), chosen)
        every.append(np.abs(stats.ttest_ind(values[first], values[~first], equal_var=False).statistic))
    exact = (np.array(every) >= np.abs(t) * (1 - 1e-9)).mean(0)
    null = permute_regions(values, design, permutations=20_000, seed=1)
    np.testing.assert_allclose(null.p(t), exact, atol=4 * np.sqrt(0.25 / 20_000))
    wise = (np.max(every, axis=1)[:, None] >= np.abs(t) * (1 - 1e-9)).mean(0)
    np.testing.assert_allclose(null.family_wise(t), wise, atol=4 * np.sqrt(0.25 / 20_000))


def test_p_is_that_of_scipys_permutation_test():
    generator = np.random.default_rng(2)
    values = shares(generator, 31, 4)
    values[:12, 1] *= 1.8
    design = Design(np.arange(31) < 12)

    def welch(one, two, axis):
        return stats.ttest_ind(one, two, axis=axis, equal_var=False).statistic

    slow = stats.permutation_test(
        (values[:12], values[12:]), welch, vectorized=True, n_resamples=9999, rng=3,
        axis=0, alternative="two-sided",
    )  # fmt: skip
    null = permute_regions(values, design, permutations=9999, seed=3)
    # SciPy doubles the smaller tail, which is the same where the null is symmetric.
    np.testing.assert_allclose(null.p(slow.statistic), slow.pvalue, atol=0.03)


def test_with_covariates_what_they_leave_is_permuted():
    generator = np.random.default_rng(4)
    age = generator.normal(70, 8, 24)
    values = generator.normal(size=(24, 2)) + 0.5 * age[:, None]
    first = np.arange(24) < 10
    design = make_design(first, (Covariate("age", tuple(map(str, age))),))
    nuisance = np.stack([np.ones(24), age], 1)
    left = values - nuisance @ np.linalg.lstsq(nuisance, values, rcond=None)[0]
    dealt = np.random.default_rng([5, 2])
    null = permute_regions(values, design, permutations=30, seed=5)
    for row in null.t:
        shuffled = left[dealt.permutation(24)]
        columns = np.hstack([first[:, None].astype(float), nuisance])
        for k in range(2):
            found, rest = np.linalg.lstsq(columns, shuffled[:, k], rcond=None)[:2]
            error = np.sqrt(rest[0] / 21 * np.linalg.inv(columns.T @ columns)[0, 0])
            assert row[k] == pytest.approx(abs(found[0] / error), rel=1e-8)


def test_the_number_of_regions_at_a_time_does_not_change_the_permutations():
    values = shares(np.random.default_rng(6), 20, 5)
    design = Design(np.arange(20) < 9)
    many = permute_regions(np.tile(values, 400), design, permutations=50, seed=7)  # 16 at a time
    few = permute_regions(values, design, permutations=50, seed=7)
    np.testing.assert_allclose(many.t[:, :5], few.t, rtol=1e-9)
    np.testing.assert_allclose(many.t[:, -5:], few.t, rtol=1e-9)


def test_a_constant_region_is_not_tested_and_moves_nothing():
    values = shares(np.random.default_rng(8), 16, 2)
    design = Design(np.arange(16) < 8)
    wide = np.hstack([values, np.full((16, 1), 0.1)])
    null = permute_regions(wide, design, permutations=200)
    rows = group_table(("a", "b", "c"), wide, design, ("AD", "NC"), null)[2::3]
    alone = group_table(
        ("a", "b"), values, design, ("AD", "NC"), permute_regions(values, design, permutations=200)
    )[2::3]
    assert rows[:2] == alone
    assert rows[2]["p_permuted"] is None
    assert rows[2]["p_fwe"] is None
    assert rows[2]["p_fdr"] is None


@pytest.mark.parametrize("covariates", [False, True])
def test_five_percent_of_shuffled_analyses_find_a_region_of_heavy_tails(covariates):
    generator = np.random.default_rng(9)
    found = runs = 0
    for seed in range(25):
        values = shares(generator, 40, 11)
        age = (Covariate("age", tuple(map(str, generator.normal(size=40)))),) if covariates else ()
        design = make_design(np.arange(40) < 18, age)
        controls = [design.shuffled(generator) for _ in range(40)]
        null = permute_regions(values, design, permutations=1000, seed=seed)
        counts = shuffled_findings(values, controls, null)
        found, runs = found + sum(count > 0 for count in counts), runs + len(counts)
    assert 0.02 * runs <= found <= 0.08 * runs


def test_a_planted_difference_is_found_by_both_corrections():
    values = shares(np.random.default_rng(10), 60, 6)
    first = np.arange(60) < 30
    values[first, 2] *= 3
    design = Design(first)
    rows = group_table(
        tuple("abcdef"), values, design, ("AD", "NC"), permute_regions(values, design, permutations=2000)
    )[2::3]
    assert [row["name"] for row in rows if row["p_fwe"] < 0.05] == ["c"]
    assert rows[2]["p_fdr"] < 0.05
