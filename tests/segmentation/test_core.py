"""The native core against its slow twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ucm as reference

from pyadx import _ucm

LINKAGES = ("boundary", "ward", "hybrid")


@st.composite
def graphs(draw):
    """Small region graphs, many of them with ties, some of several components."""
    count = draw(st.integers(1, 12))
    every = [(a, b) for a in range(count) for b in range(a + 1, count)]
    pairs = draw(st.lists(st.sampled_from(every), unique=True, max_size=30)) if every else []
    few = st.integers(0, draw(st.sampled_from([2, 1000])))
    sums = [draw(few) for _ in pairs]
    weights = [draw(st.integers(1, 3)) for _ in pairs]
    sizes = [draw(st.integers(1, 5)) for _ in range(count)]
    values = [draw(few) * size for size in sizes]
    return pairs, sums, weights, sizes, values


def arrays(graph):
    pairs, sums, weights, sizes, values = graph
    whole = [np.array(part, np.int64) for part in (sums, weights, sizes, values)]
    return np.array(pairs, np.int32).reshape(-1, 2), *whole


def as_sets(merges, altitudes, count):
    """Merges as the two sets of leaves that meet, with the altitude."""
    members = {i: frozenset([i]) for i in range(count)}
    found = []
    for k, ((a, b), altitude) in enumerate(zip(merges.tolist(), altitudes.tolist(), strict=True)):
        found.append((frozenset((members[a], members[b])), altitude))
        members[count + k] = members[a] | members[b]
    return found


@settings(max_examples=500, deadline=None)
@given(graphs(), st.sampled_from(LINKAGES), st.sampled_from([0, 1, 4, 9]))
def test_merges_equal_those_of_a_search_over_all_edges(graph, linkage, min_size):
    pairs, sums, weights, sizes, values = arrays(graph)
    merges, altitudes = _ucm.merge_regions(pairs, sums, weights, sizes, values, linkage, min_size, 1.0, 1.0)
    expected = reference.merge_regions(pairs, sums, weights, sizes, values, linkage, min_size)
    assert as_sets(merges, altitudes, len(sizes)) == expected
    assert (np.diff(altitudes) >= 0).all() if np.isfinite(altitudes).all() else True


@settings(max_examples=200, deadline=None)
@given(graphs(), st.sampled_from([*LINKAGES, "gbh"]), st.randoms())
def test_the_order_of_edges_does_not_matter(graph, linkage, random):
    pairs, sums, weights, sizes, values = arrays(graph)
    order = list(range(len(pairs)))
    random.shuffle(order)

    def run(chosen):
        if linkage == "gbh":
            histogram = np.stack([values, sizes * 3], 1)
            return _ucm.merge_graph_based(pairs[chosen], sizes, histogram, 1.0, 3.0)
        edges = pairs[chosen], sums[chosen], weights[chosen]
        return _ucm.merge_regions(*edges, sizes, values, linkage, 3, 1.0, 1.0)

    one, two = run(np.arange(len(pairs))), run(np.array(order, int))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


def test_boundary_linkage_equals_average_linkage_of_higra():
    higra = pytest.importorskip("higra")
    random = np.random.default_rng(3)
    labels = np.arange(6 * 7 * 5).reshape(6, 7, 5)
    pairs = np.concatenate(
        [
            np.stack([np.take(labels, range(n - 1), a), np.take(labels, range(1, n), a)], -1).reshape(-1, 2)
            for a, n in enumerate(labels.shape)
        ]
    )
    sums = random.integers(1, 1 << 40, len(pairs))  # so fine that no two means are alike
    weights = random.integers(1, 9, len(pairs))
    graph = higra.UndirectedGraph(labels.size)
    graph.add_edges(pairs[:, 0], pairs[:, 1])
    tree, expected = higra.binary_partition_tree_average_linkage(
        graph, sums / weights, weights.astype(float)
    )
    ones = np.ones(labels.size, np.int64)
    merges, altitudes = _ucm.merge_regions(
        pairs.astype(np.int32), sums, weights, ones, ones, "boundary", 0, 1.0, 1.0
    )
    assert np.allclose(altitudes, expected[labels.size :], rtol=1e-9, atol=0)
    leaves = tree.num_leaves()
    theirs = {}
    for node in tree.leaves_to_root_iterator(include_leaves=True, include_root=True):
        kids = [theirs[c] for c in tree.children(node)] if node >= leaves else [frozenset([int(node)])]
        theirs[int(node)] = frozenset().union(*kids)
    ours = {a | b for (a, b), _ in as_sets(merges, altitudes, leaves)}
    assert ours == {s for n, s in theirs.items() if n >= leaves}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 20, 65536]), st.sampled_from([1, 2, 5]))
def test_watershed_equals_walking_downhill(seed, heights, threads):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 8, 3))
    relief = random.integers(0, heights, shape).astype(np.uint16)
    mask = (random.random(shape) < random.choice([0.5, 0.9, 1.1])).astype(np.uint8)
    labels, basins = _ucm.watershed(relief, mask, threads)
    expected, count = reference.watershed(relief, mask)
    assert basins == count
    # On plateaus with several equally near outlets the order of the walk decides, the same in both.
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_region_graph_equals_a_loop_over_faces(threads):
    random = np.random.default_rng(5)
    relief = random.integers(0, 65536, (19, 6, 7)).astype(np.uint16)
    labels = random.integers(-1, 9, relief.shape).astype(np.int32)
    pairs, sums, weights = _ucm.region_graph(relief, labels, [1, 1, 1], None, [], threads)
    found = {tuple(p): (s, w) for p, s, w in zip(pairs.tolist(), sums, weights, strict=True)}
    assert found == reference.region_graph(relief, labels)
    assert pairs.tolist() == sorted(pairs.tolist())


@pytest.mark.parametrize("unit", [1, 7, 1024, 5000])
def test_oriented_faces_are_weighed_in_the_unit_of_their_cosines(unit):
    random = np.random.default_rng(5)
    relief = random.integers(0, 65536, (9, 6, 7)).astype(np.uint16)
    labels = random.integers(-1, 9, relief.shape).astype(np.int32)
    direction = random.integers(0, 3, relief.shape).astype(np.uint8)
    given = (relief, labels, [1, 1, 1], direction, [[unit] * 256] * 3, 1)
    pairs, sums, weights = _ucm.region_graph(*given, unit=unit)
    found = {tuple(p): (s / unit, w / unit) for p, s, w in zip(pairs.tolist(), sums, weights, strict=True)}
    assert found == reference.region_graph(relief, labels)
    for wrong in ({}, {"unit": 0}, {"unit": -1}):
        with pytest.raises(ValueError, match="unit of the cosines"):
            _ucm.region_graph(*given, **wrong)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)])
def test_chi_square_equals_histograms_of_half_balls(spacing):
    random = np.random.default_rng(6)
    bins = random.integers(0, 11, (7, 8, 6)).astype(np.uint8)
    normals = np.array(_ucm.directions())
    assert np.allclose((normals**2).sum(1), 1)
    assert len(np.unique(np.round(np.abs(normals @ normals.T), 6), axis=0)) == 13
    strength, direction = _ucm.chi_square(bins, spacing, [2.0, 4.0, 6.0], 2)
    expected, first = reference.chi_square(bins, [2.0, 4.0, 6.0], normals, spacing)
    assert np.allclose(strength, expected, atol=1e-5)
    assert (direction == first).mean() > 0.95  # rounding decides between directions that tie
    again = _ucm.chi_square(bins, spacing, [2.0, 4.0, 6.0], 1)
    assert np.array_equal(again[0], strength)
    assert np.array_equal(again[1], direction)


def test_gradient_looks_no_further_than_the_mask():
    random = np.random.default_rng(7)
    volume = random.random((6, 5, 4)).astype(np.float32)
    ones = np.ones(volume.shape, np.uint8)
    spacing = (2.0, 1.0, 0.5)
    expected = np.sqrt(sum(g**2 for g in np.gradient(volume.astype(np.float64), *spacing)))
    assert np.allclose(_ucm.gradient(volume, ones, spacing, 2), expected, rtol=1e-6)
    mask = ones.copy()
    mask[3:] = 0
    poisoned = volume.copy()
    poisoned[3:] = np.nan
    inner = _ucm.gradient(poisoned, mask, spacing, 1)
    assert np.allclose(inner[:3], _ucm.gradient(volume[:3].copy(), ones[:3].copy(), spacing, 1))
    assert (inner[3:] == 0).all()


def test_affinity_is_that_of_the_strongest_boundary_between():
    strength = np.zeros((5, 5, 5), np.float32)
    strength[:, :, 2] = 0.3
    normals = np.array(_ucm.directions())
    across = int(np.abs(normals @ [0, 0, 1]).argmax())
    number = np.arange(125, dtype=np.int32).reshape(5, 5, 5)
    pairs, weight = _ucm.affinities(strength, np.full((5, 5, 5), across, np.uint8), number, 2, 0.1, 2)
    found = {tuple(sorted(p)): w for p, w in zip(pairs.reshape(-1, 2).tolist(), weight, strict=True)}
    assert len(found) == len(weight)
    assert found[(60, 61)] == pytest.approx(1)  # beside the boundary
    assert found[(61, 63)] == pytest.approx(np.exp(-3), rel=1e-5)  # across it
    assert found[(57, 62)] == pytest.approx(1)  # along it
    offsets = {(a, b, c) for a in range(-2, 3) for b in range(-2, 3) for c in range(-2, 3)}
    near = {p for p in found if 62 in p}
    assert len(near) == len(offsets) - 1


def test_wrong_calls_raise_and_do_not_crash():
    pairs = np.array([[0, 5]], np.int32)
    one = np.ones(1, np.int64)
    with pytest.raises(ValueError, match="lo < hi"):
        _ucm.merge_regions(pairs, one, one, one, one, "ward", 0, 1.0, 1.0)
    with pytest.raises(ValueError, match="not merged before"):
        _ucm.depth_first(np.array([[0, 0]], np.int32), np.zeros(1), np.ones(2, np.int64))
    with pytest.raises(TypeError):  # no silent copies
        _ucm.watershed(np.zeros((2, 2, 2)), np.ones((2, 2, 2), np.uint8), 1)
    with pytest.raises(ValueError, match="different shapes"):
        _ucm.watershed(np.zeros((2, 2, 2), np.uint16), np.ones((2, 2, 3), np.uint8), 1)


@pytest.mark.parametrize("linkage", LINKAGES)
def test_a_pair_of_regions_that_is_listed_twice_is_refused(linkage):
    pairs = np.array([[0, 1], [1, 2], [0, 1]], np.int32)
    ones = np.ones(3, np.int64)
    with pytest.raises(ValueError, match="every pair of regions once"):
        _ucm.merge_regions(pairs, ones, ones, ones, ones, linkage, 0, 1.0, 1.0)
