"""Statistics of groups of maps, against NumPy in memory, scipy.stats and nilearn called by hand."""

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter

from pyadx.evaluation.groups import (
    Covariate,
    Design,
    MapMatrix,
    MapSums,
    compare_groups,
    hedges_g,
    make_design,
    normalising_factor,
    permutation_test,
    spatial_correlation,
)
from pyadx.evaluation.groups.permutations import cluster_test, family_wise
from pyadx.evaluation.groups.region_statistics import (
    GROUP_COLUMNS,
    asymmetries,
    false_discovery,
    group_table,
    shuffled_findings,
)

nilearn = pytest.importorskip("nilearn.mass_univariate")


def sums_of(maps):
    found = MapSums.empty(maps.shape[1])
    for one in maps:
        found.add(one)
    return found


def strongest(maps):
    """Where every map is among its strongest 5% by absolute value, ties included, zeros not."""
    count = int(np.ceil(0.05 * maps.shape[1]))
    least = np.sort(np.abs(maps), 1)[:, -count][:, None]
    return (np.abs(maps) >= least) & (maps != 0)


def assert_sums(found, maps, tolerance=1e-12):
    assert found.count == len(maps)
    np.testing.assert_allclose(found.mean, maps.mean(0), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.variance, maps.var(0, ddof=1), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found.strongest, strongest(maps).sum(0))
    np.testing.assert_allclose(found.share, strongest(maps).mean(0))


def test_two_thousand_maps_streamed_equal_those_in_memory():
    """Far from 0, where squares of sums would lose all digits."""
    maps = np.random.default_rng(0).normal(1e6, 1.0, (2000, 57))
    assert_sums(sums_of(maps), maps, tolerance=1e-6)
    state = sums_of(maps[:1])
    assert sum(a.nbytes for a in (state.mean, state.squares, state.strongest)) == 57 * 24


@pytest.mark.parametrize("cuts", [(1,), (7, 7, 50), (0, 99), (20, 40, 60, 80)])
def test_parts_merge_to_the_whole(cuts):
    maps = np.random.default_rng(1).normal(3.0, 2.0, (100, 40))
    whole = MapSums.empty(40)
    for part in np.split(maps, cuts):
        whole.merge(sums_of(part))
    assert_sums(whole, maps)


def test_sums_refuse_what_does_not_fit():
    found = MapSums.empty(3)
    for wrong in (np.zeros(4), np.array([0, np.nan, 1])):
        with pytest.raises(ValueError, match=r"voxels|NaN"):
            found.add(wrong)
    with pytest.raises(ValueError, match="do not fit"):
        found.merge(MapSums.empty(2))
    assert np.isnan(found.sd).all()


@pytest.mark.parametrize(("how", "factor"), [("none", 1.0), ("sum", 15.0), ("p99", 4.97)])
def test_maps_are_divided_by_what_was_asked_for(how, factor):
    values = np.array([1.0, -2.0, 3.0, -4.0, 5.0])
    expected = np.percentile(np.abs(values), 99) if how == "p99" else factor
    assert normalising_factor(values, how) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "how", "words"),
    [
        (np.zeros(9), "sum", "zero everywhere"),
        (np.eye(1, 900)[0], "p99", "fewer than 1%"),
        (np.ones(9), "median", "must be one of none, sum, p99"),
    ],
)
def test_what_cannot_be_normalised_is_told(values, how, words):
    with pytest.raises(ValueError, match=words):
        normalising_factor(values, how)


def test_without_covariates_it_is_welchs_test():
    generator = np.random.default_rng(2)
    first = np.arange(17) < 6
    values = generator.normal(size=(17, 5)) * np.where(first, 3.0, 1.0)[:, None]
    found = compare_groups(values, Design(first))
    for k in range(5):
        slow = stats.ttest_ind(values[first, k], values[~first, k], equal_var=False)
        low, high = slow.confidence_interval(0.95)
        got = (found.t[k], found.p[k], found.df[k], found.low[k], found.high[k])
        assert got == pytest.approx((slow.statistic, slow.pvalue, slow.df, low, high), rel=1e-10)


def test_with_covariates_it_is_the_linear_model():
    """Against the normal equations, a region at a time."""
    generator = np.random.default_rng(3)
    first = generator.permutation(np.arange(20) < 9)
    age = generator.normal(70, 5, 20)
    values = generator.normal(size=(20, 3)) + 0.2 * age[:, None] + first[:, None]
    design = make_design(first, [Covariate("age", tuple(map(str, age)))])
    found = compare_groups(values, design)
    x = np.stack([first, np.ones(20), age - age.mean()], 1).astype(float)
    inverse = np.linalg.inv(x.T @ x)
    for k in range(3):
        beta = inverse @ x.T @ values[:, k]
        error = np.sqrt(((values[:, k] - x @ beta) ** 2).sum() / 17 * inverse[0, 0])
        p = 2 * stats.t.sf(abs(beta[0] / error), 17)
        reach = stats.t.ppf(0.975, 17) * error
        expected = (beta[0], error, beta[0] / error, p, beta[0] - reach, beta[0] + reach)
        got = (found.difference[k], found.error[k], found.t[k], found.p[k], found.low[k], found.high[k])
        assert got == pytest.approx(expected, rel=1e-8)


def test_a_constant_region_has_no_test_and_does_not_count_for_the_others():
    values = np.random.default_rng(4).normal(size=(12, 3))
    values[:, 1] = 0.1
    found = compare_groups(values, Design(np.arange(12) < 6))
    assert np.isnan(found.p).tolist() == [False, True, False]
    q = false_discovery(found.p)
    np.testing.assert_allclose(q[[0, 2]], stats.false_discovery_control(found.p[[0, 2]]))
    rows = group_table(("a", "b", "c"), values, Design(np.arange(12) < 6), ("AD", "NC"))
    assert (rows[5]["p"], rows[5]["p_fdr"], rows[5]["hedges_g"]) == (None, None, 0.0)


def test_hedges_g_is_the_pooled_difference_without_bias():
    generator = np.random.default_rng(5)
    one, two = generator.normal(1, 1, (8, 4)), generator.normal(0, 1, (5, 4))
    found = hedges_g((one.mean(0), two.mean(0)), (one.var(0, ddof=1), two.var(0, ddof=1)), (8, 5))
    pooled = np.sqrt((7 * one.var(0, ddof=1) + 4 * two.var(0, ddof=1)) / 11)
    d = (one.mean(0) - two.mean(0)) / pooled
    np.testing.assert_allclose(found, d * (1 - 3 / (4 * 11 - 1)), rtol=1e-3)  # the usual approximation
    # Without bias: over many samples of a known effect the mean is that effect.
    one, two = generator.normal(0.8, 1, (5, 40000)), generator.normal(0, 1, (4, 40000))
    many = hedges_g((one.mean(0), two.mean(0)), (one.var(0, ddof=1), two.var(0, ddof=1)), (5, 4))
    assert many.mean() == pytest.approx(0.8, abs=0.02)


def test_covariates_are_centred_and_coded():
    cells = [Covariate("age", ("60", "70", "80", "75", "65", "71")),
             Covariate("sex", ("F", "M", "M", "F", "F", "M"))]  # fmt: skip
    design = make_design([True, False, True, False, True, False], cells)
    assert design.columns == ("age", "sex[M]")
    np.testing.assert_allclose(design.covariates.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.ptp(design.covariates, 0), [20, 1])
    site = Covariate("site", ("1", "2", "3", "1", "2", "3"), category=True)
    assert make_design([True] * 3 + [False] * 3, [site]).columns == ("site[2]", "site[3]")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"age": "60 60 60 60 60 60 60"}, "for every subject"),
        ({"a": "1 2 3 4 5 6 8", "b": "2 4 6 8 10 12 16"}, "'b' follows from the other"),
        ({"dx": "A A A B B B B"}, "groups follow from the covariates"),
        ({"id": "a b c d e f g"}, "too few"),
    ],
)
def test_covariates_that_say_nothing_or_too_much_are_refused(cells, words):
    covariates = [Covariate(name, tuple(text.split())) for name, text in cells.items()]
    with pytest.raises(ValueError, match=words):
        make_design(np.arange(7) < 3, covariates)


def voxels(tmp_path, subjects=20, count=300, effect=0.0, seed=6):
    values = np.random.default_rng(seed).normal(size=(subjects, count)).astype(np.float32)
    first = np.arange(subjects) % 2 == 0
    values[first, :20] += effect
    values[:, 50] = 3.0  # nobody differs
    return values, first, MapMatrix.of(tmp_path / "maps.npy", values)


@pytest.mark.parametrize("block", [7, 64, 1000])
@pytest.mark.parametrize("adjusted", [False, True])
def test_blocks_of_voxels_give_what_nilearn_gives_by_hand(tmp_path, block, adjusted):
    values, first, matrix = voxels(tmp_path, effect=1.0)
    age = np.random.default_rng(7).normal(size=(20, 1)) - 0.1
    design = Design(first, age - age.mean(0) if adjusted else None)
    found = permutation_test(matrix, design, permutations=99, seed=3, block=block)
    differs = np.arange(300) != 50
    slow = nilearn.permuted_ols(
        first.astype(float), values[:, differs].astype(float), design.covariates, n_perm=99,
        random_state=3,
    )  # fmt: skip
    np.testing.assert_allclose(found.t[differs], slow["t"][0], rtol=1e-6)
    np.testing.assert_allclose(found.maxima, slow["h0_max_t"][0], rtol=1e-6)
    np.testing.assert_allclose(-np.log10(found.p[differs]), slow["logp_max_t"][0], rtol=1e-9, atol=1e-12)
    assert (found.t[50], found.p[50]) == (0.0, 1.0)
    if not adjusted:
        one = stats.ttest_ind(values[first].astype(float), values[~first].astype(float)).statistic
        np.testing.assert_allclose(found.t[differs], one[differs], rtol=1e-6)


def test_the_threshold_is_where_p_falls_below_the_level(tmp_path):
    _, first, matrix = voxels(tmp_path)
    found = permutation_test(matrix, Design(first), permutations=99, seed=0)
    limit = found.threshold()
    assert family_wise(np.array([limit]), found.maxima)[0] >= 0.05
    assert family_wise(np.array([np.nextafter(limit, 9)]), found.maxima)[0] < 0.05
    few = permutation_test(matrix, Design(first), permutations=19, seed=0)
    assert few.threshold() is None  # 1/20 is not below 0.05
    none = permutation_test(matrix, Design(first), permutations=0)
    assert none.p is None


def test_a_planted_difference_is_found_and_nothing_else(tmp_path):
    _, first, matrix = voxels(tmp_path, subjects=40, effect=2.0)
    found = permutation_test(matrix, Design(first), permutations=199, seed=0)
    assert (found.p[:20] < 0.05).sum() >= 15
    assert (found.t[:20] > 0).all()
    assert (found.p[20:] < 0.05).sum() <= 1


@pytest.mark.parametrize("adjusted", [False, True])
def test_family_wise_error_is_what_it_says(tmp_path, adjusted):
    """Of 200 analyses without a difference some 5% find a voxel; 1 to 21 is the 99.9% interval."""
    _, first, matrix = voxels(tmp_path, count=60)
    generator = np.random.default_rng(8)
    # Sites of another size that lie in one group more often than in the other.
    site = [str(int(n % 4 < 1 + (n < 8))) for n in range(20)]
    design = make_design(first, [Covariate("site", tuple(site), category=True)] if adjusted else [])
    controls = [design.shuffled(generator) for _ in range(200)]
    found = permutation_test(matrix, design, permutations=199, seed=1, controls=controls)
    assert 1 <= (found.shuffled_p() < 0.05).sum() <= 21
    # As one of these analyses by hand.
    again = permutation_test(matrix, controls[0], permutations=0)
    assert found.shuffled[0] == pytest.approx(np.abs(again.t).max(), rel=1e-12)


def test_clusters_and_tfce_are_nilearns(tmp_path):
    generator = np.random.default_rng(9)
    mask = np.ones((6, 7, 5), bool)
    mask[0] = False
    maps = np.stack([gaussian_filter(generator.normal(size=mask.shape), 1) for _ in range(16)])
    first = np.arange(16) < 8
    maps[first, 2:5, 2:5, 1:4] += 0.5
    maps[:, 1, 1, 1] = 0
    matrix = MapMatrix.of(tmp_path / "maps.npy", maps[:, mask])
    found = cluster_test(matrix, Design(first), mask, np.eye(4), permutations=49, forming_p=0.05, tfce=True)
    t = permutation_test(matrix, Design(first), permutations=0).t
    whole = np.zeros(mask.shape)
    whole[mask] = t
    size = np.zeros(mask.shape)
    size[mask] = found["size"]
    from scipy.ndimage import label

    for sign in (1, -1):
        marked, count = label(sign * whole > stats.t.isf(0.025, 14))
        for number in range(1, count + 1):
            assert (size[marked == number] == (marked == number).sum()).all()
    assert found["logp_max_size"].max() > -np.log10(0.05)
    assert found["tfce"].shape == found["logp_max_tfce"].shape == t.shape
    constant = np.flatnonzero((maps[:, mask] == 0).all(0))
    assert (found["tfce"][constant] == 0).all()


def test_correlation_with_another_map_is_numpys(tmp_path):
    values, first, matrix = voxels(tmp_path)
    other = np.random.default_rng(10).normal(size=300)
    found = spatial_correlation(matrix, other, Design(first), permutations=99, seed=2)
    wide = values.astype(float)
    difference = wide[first].mean(0) - wide[~first].mean(0)
    slow = [
        np.corrcoef(one, other)[0, 1] for one in (wide[first].mean(0), wide[~first].mean(0), difference)
    ]
    assert (found.first, found.second, found.difference) == pytest.approx(slow, rel=1e-8)
    generator = np.random.default_rng(2)
    for r in found.null[:5]:
        dealt = generator.permutation(first)
        slow = np.corrcoef(wide[dealt].mean(0) - wide[~dealt].mean(0), other)[0, 1]
        assert r == pytest.approx(slow, rel=1e-8)
    assert found.p == (1 + (np.abs(found.null) >= abs(found.difference)).sum()) / 100
    assert (found.voxels, found.subjects) == (300, 20)
    with pytest.raises(ValueError, match="constant"):
        spatial_correlation(matrix, np.ones(300), Design(first))


def test_a_map_of_the_planted_difference_is_recognised(tmp_path):
    _, first, matrix = voxels(tmp_path, effect=2.0)
    planted = (np.arange(300) < 20).astype(float)
    found = spatial_correlation(matrix, planted, Design(first), permutations=199)
    assert found.difference > 0.5
    assert found.p == pytest.approx(1 / 200)


def test_the_group_table_says_what_each_group_is_and_how_they_differ():
    values = np.random.default_rng(11).normal(size=(14, 2))
    first = np.arange(14) < 6
    rows = group_table(("one", "two"), values, Design(first), ("AD", "NC"))
    assert [(row["name"], row["group"], row["n"]) for row in rows[:3]] == [
        ("one", "AD", 6), ("one", "NC", 8), ("one", "AD - NC", 14)
    ]  # fmt: skip
    assert all(list(row) == list(GROUP_COLUMNS) for row in rows)
    low, high = stats.t.interval(0.95, 5, values[first, 0].mean(), stats.sem(values[first, 0]))
    got = [rows[0][name] for name in ("mean", "sd", "se", "ci_low", "ci_high")]
    expected = (
        values[first, 0].mean(),
        values[first, 0].std(ddof=1),
        stats.sem(values[first, 0]),
        low,
        high,
    )
    assert got == pytest.approx(expected)
    slow = stats.ttest_ind(values[first], values[~first], equal_var=False)
    assert [rows[2]["t"], rows[5]["t"]] == pytest.approx(slow.statistic)
    assert [rows[2]["p_fdr"], rows[5]["p_fdr"]] == pytest.approx(stats.false_discovery_control(slow.pvalue))


def test_left_is_compared_with_right_where_names_tell():
    names = ("A_L", "A_R", "B_L", "Vermis", "Left C", "Right C")
    values = np.array([[3.0, 1, 5, 5, 0, 0], [-1.0, 1, 5, 5, 2, -1]])
    pairs, found = asymmetries(names, values)
    assert pairs == ["a_*", "* c"]
    np.testing.assert_allclose(found, [[0.5, 0], [-1, 1]])


def test_shuffled_labels_find_no_more_than_chance():
    generator = np.random.default_rng(12)
    values = generator.normal(size=(30, 10))
    values[:15, 0] += 3  # a real difference does not help shuffled labels
    design = Design(np.arange(30) < 15)
    controls = [design.shuffled(generator) for _ in range(100)]
    assert sum(count > 0 for count in shuffled_findings(values, controls)) <= 13
    assert shuffled_findings(values, [design])[0] >= 1
