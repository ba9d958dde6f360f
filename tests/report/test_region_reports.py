"""Regions of a sidecar: what is told of them, where they lie, and their table."""

import csv
import io
import math

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from region_cases import shapley_facts

import pyadx
from pyadx.report.region_bars import region_bars
from pyadx.report.region_places import region_centres, region_numbers
from pyadx.report.region_reports import merges_of, pairs_of, region_report
from pyadx.report.region_tables import region_tsv, save_region_table

LABELS, VALUES = (5, 2, 9), (0.25, -2.0, 1 / 3)


def report_of(**changed):
    return {**shapley_facts(LABELS, VALUES)["report"], **changed}


def test_regions_come_by_their_absolute_value_each_with_its_own_numbers():
    known = region_report(report_of())
    assert known.shared
    assert [(r.label, r.name, r.value) for r in known.regions] == [
        (2, "region 2", -2.0),
        (9, "region 9", 1 / 3),
        (5, "region 5", 0.25),
    ]
    (first, *_) = known.regions
    assert (first.error, first.alone, first.first, first.voxels) == (0.2, -3.0, -1.0, 7)
    assert first.whisker == pytest.approx(1.96 * 0.2)
    assert known.ends == (-3.0, 0.5)
    assert known.change == sum(VALUES)


def test_decisive_regions_stay_in_their_order():
    known = region_report({"labels": [3, 8], "names": ["a", "b"], "changes": [0.1, 4.0]})
    assert not known.shared
    assert [(r.name, r.value, r.error, r.alone) for r in known.regions] == [
        ("a", 0.1, None, None),
        ("b", 4.0, None, None),
    ]


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"labels": None}, []),
        ({"labels": [5, 2]}, []),
        ({"values": "1, 2, 3"}, []),
        ({"values": [math.nan, math.inf, None]}, []),
        ({"values": [True, "1", 10**400]}, []),
        ({"values": [[1.0], 2.0, {}]}, [2]),
        ({"labels": [5, 5, 5]}, [5]),
        ({"labels": [True, -2, 2**80]}, []),
        ({"labels": [5.0, "2", 9]}, [9]),
    ],
)
def test_odd_regions_are_left_out(changed, left):
    known = region_report(report_of(**changed))
    assert [region.label for region in known.regions] == left if left else known is None


@pytest.mark.parametrize("odd", [None, {}, "text", [1.0], [math.nan, "", True], [None] * 3, [-1.0] * 3])
def test_odd_columns_are_left_out_and_regions_stay(odd):
    known = region_report(report_of(errors=odd, names=odd, voxels=odd, change=odd))
    assert [region.label for region in known.regions] == [2, 9, 5]
    assert all(region.error is None and region.voxels is None for region in known.regions)
    assert [region.name for region in known.regions][::2] == ["2", "5"]
    assert known.change is None


@pytest.mark.parametrize("odd", [None, 3, "report", [], {}, {"labels": []}, {"evaluations": 4}])
def test_other_reports_hold_no_regions(odd):
    assert (region_report(odd), pairs_of(odd), merges_of(odd)) == (None, None, [])


def test_pairs_are_read_and_their_diagonal_is_empty():
    pairwise = {"labels": [4, 5], "names": ["a", 7], "matrix": [[9.0, -0.5], [-0.5, None]]}
    found = pairs_of({"pairwise": pairwise})
    assert found.names == ("a", "5")
    assert found.matrix == ((None, -0.5), (-0.5, None))
    for odd in ([[0, 1]], [[None, 1], 3], [[1], [1]], "x", None, [[None, 1, 2], [1, None, 2]]):
        assert pairs_of({"pairwise": {**pairwise, "matrix": odd}}) is None
    assert pairs_of({"pairwise": {**pairwise, "names": ["one"]}}).names == ("4", "5")


def test_merges_are_read_and_odd_ones_left_out():
    good = {"leaves": [3, 9], "parts": 2, "together": 1.5, "alone": 2, "interaction": -0.5}
    odd = [None, {**good, "leaves": [3]}, {**good, "parts": "2"}, {**good, "together": math.nan}]
    assert merges_of({"interactions": [*odd, good]}) == [good]


def test_what_the_explainers_report_is_read_back():
    model = randomised(Plain(1, 3)).eval()
    scan, atlas = torch.rand(1, 1, 12, 12, 12), torch.ones(12, 12, 12, dtype=torch.int64)
    atlas[:6], atlas[6:, :6] = 7, 4
    report = pyadx.RegionShapley(model, pairs=3).run(scan, 1, atlas).reports[0]
    known = region_report(report.facts())
    assert {r.label: r.value for r in known.regions} == dict(
        zip(report.labels, report.values.tolist(), strict=True)
    )
    assert known.change - known.gap == pytest.approx(sum(r.value for r in known.regions))
    assert known.exact
    assert "shares are exact" in region_bars(0, known, {})
    drawn = pyadx.RegionShapley(model, pairs=3, exact=0).run(scan, 1, atlas).reports[0]
    assert not region_report(drawn.facts()).exact
    assert "a sample of all orders" in region_bars(0, region_report(drawn.facts()), {})
    pairs = pairs_of(report.facts())
    assert pairs.matrix[0][1] == report.pairwise.matrix[0, 1]
    decisive = pyadx.decisive_regions(model, scan, None, atlas)
    flip = region_report(decisive.facts())
    assert [r.label for r in flip.regions] == list(decisive.labels) if decisive.labels else flip is None


# --- tables ----------------------------------------------------------------------------------------------


def rows_of(text):
    return list(csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


def test_a_table_holds_numbers_in_full_and_what_is_not_known_as_such(tmp_path):
    save_region_table(tmp_path / "t.tsv", report_of(errors=[None, 0.1, None]))
    head, first, second, third = rows_of((tmp_path / "t.tsv").read_text())
    assert head == ["name", "label", "value", "standard_error", "alone", "first", "voxels"]
    assert first == ["region 2", "2", "-2.0", "0.1", "-3.0", "-1.0", "7"]
    assert (float(second[2]), second[3]) == (1 / 3, "n/a")
    assert third[1] == "5"


def test_a_table_without_regions_is_its_head(tmp_path):
    save_region_table(tmp_path / "t.tsv", {"labels": [], "changes": []})
    assert len(rows_of((tmp_path / "t.tsv").read_text())) == 1


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("a\tb\r\nc\x00d", "a b c d"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("\t =1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ("a\u2028b\x85c", "a b c"),
        ('"quoted"', '"quoted"'),
        ("left-hippocampus", "left-hippocampus"),
    ],
)
def test_names_keep_to_their_cells_and_are_not_computed(name, cell):
    text = region_tsv(region_report(report_of(names=[name, "b", "c"])))
    rows = rows_of(text)
    assert {len(row) for row in rows} == {7}
    assert len(rows) == len(text.splitlines()) == 4
    assert [row[0] for row in rows if row[1] == "5"] == [cell]


# --- places ----------------------------------------------------------------------------------------------


def atlas_and_map(values, labels=LABELS):
    atlas = np.zeros((12, 10, 8), int)
    atlas[1:4, 2:8, 1:7], atlas[5:8, 2:8, 1:7], atlas[8:11, 2:8, 1:7] = labels
    heat = np.zeros(atlas.shape, np.float32)
    for label, value in zip(labels, values, strict=True):
        heat[atlas == label] = value
    return atlas, heat


def expected(atlas, known):
    numbers = np.zeros(atlas.shape, int)
    for place, region in enumerate(known.regions, start=1):
        numbers[atlas == region.label] = place
    return numbers


@pytest.mark.parametrize("show", ["region", "voxel"])
def test_regions_are_found_in_the_map_by_their_values(show):
    atlas, _ = atlas_and_map(VALUES)
    sizes = [int((atlas == label).sum()) for label in LABELS]
    painted = [v / n for v, n in zip(VALUES, sizes, strict=True)] if show == "voxel" else VALUES
    known = region_report(report_of(voxels=sizes))
    assert np.array_equal(region_numbers(atlas_and_map(painted)[1], known), expected(atlas, known))


def test_places_in_a_list_of_decisive_regions_are_found_too():
    atlas, heat = atlas_and_map((1, 2, 3))
    known = region_report({"labels": list(LABELS), "changes": [0.7, 0.2, 0.1]})
    assert np.array_equal(region_numbers(heat, known), expected(atlas, known))


def test_regions_of_equal_values_need_the_atlas():
    atlas, heat = atlas_and_map((0.5, 0.5, 0.0))
    known = region_report(report_of(values=[0.5, 0.5, 0.0]))
    assert not region_numbers(heat, known).any()
    assert np.array_equal(region_numbers(heat, known, atlas), expected(atlas, known))


def test_an_atlas_that_the_map_does_not_fit_is_left_alone():
    atlas, heat = atlas_and_map(VALUES)
    known = region_report(report_of())
    other = np.flip(atlas, 0)
    assert np.array_equal(region_numbers(heat, known, other), expected(atlas, known))
    assert np.array_equal(region_numbers(heat, known, np.full(atlas.shape, 77)), expected(atlas, known))


def test_interpolated_borders_are_no_region_and_insides_are():
    from scipy import ndimage

    atlas, heat = atlas_and_map(VALUES)
    fine, known = ndimage.zoom(heat, 2.5, order=1), region_report(report_of())
    numbers, near = region_numbers(fine, known), ndimage.zoom(expected(atlas, known), 2.5, order=0)
    inside = ndimage.minimum_filter(near, 5) == ndimage.maximum_filter(near, 5)
    assert np.array_equal(numbers[inside], near[inside])
    assert np.unique(numbers[inside]).tolist() == [0, 1, 2, 3]


def test_the_centre_of_a_region_is_one_of_its_voxels():
    numbers = np.zeros((9, 9, 9), np.uint16)
    numbers[1:8, 1:8, 4] = 2
    numbers[3:6, 3:6, 4] = 0  # a ring: its middle is not in it
    numbers[0, 8, 8] = 4
    none, ring, missing, single = region_centres(numbers, 4)
    assert none is None
    assert missing is None
    assert numbers[tuple(ring)] == 2
    assert np.abs(np.array(ring) - [4, 4, 4]).max() == 2
    assert single == [0, 8, 8]
