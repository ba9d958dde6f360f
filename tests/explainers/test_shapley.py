"""Shares of regions equal brute force over all subsets, and add up whatever is drawn."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from reference.shapley import region_game, shapley, winter

import pyadx
from pyadx.explainers.coalitions import splits_of
from pyadx.explainers.players import Choice, Players, players_of_tree
from pyadx.segmentation import ucm

SHAPE = (12, 9, 11)


@pytest.fixture
def model():
    return randomised(Plain(1, 3)).double().eval()


@pytest.fixture
def scan(generator):
    return torch.rand(1, *SHAPE, generator=generator, dtype=torch.float64) + 0.1


@pytest.fixture
def labels(generator):
    """Four regions with odd numbers, and a part of the scan that belongs to none."""
    found = torch.randint(0, 5, (4, 3, 4), generator=generator)
    found = found.repeat_interleave(3, 0).repeat_interleave(3, 1).repeat_interleave(3, 2)[:12, :9, :11]
    return np.array([0, 4, 17, 30, 53])[found.numpy()]


def test_all_orders_give_what_all_subsets_give(model, scan, labels, monkeypatch):
    every = iter(permutations(range(4)))
    monkeypatch.setattr(Players, "order", lambda self, random: np.array(next(every)))
    explain = pyadx.RegionShapley(model, fill=0.4, pairs=24, exact=0)
    found = explain.run(scan, 1, labels)
    report = found.reports[0]
    values = region_game(model, scan, [labels == n for n in (4, 17, 30, 53)], 0.4)
    assert report.labels == (4, 17, 30, 53)
    assert np.abs(report.values - shapley(values, 4)).max() < 1e-10 * abs(report.change)
    assert report.score == pytest.approx(values[frozenset(range(4))], rel=1e-12)
    assert report.reference_score == pytest.approx(values[frozenset()], rel=1e-12)
    alone = [values[frozenset(range(4))] - values[frozenset({0, 1, 2, 3} - {i})] for i in range(4)]
    first = [values[frozenset({i})] - values[frozenset()] for i in range(4)]
    assert np.abs(report.alone - alone).max() < 1e-10
    assert np.abs(report.first - first).max() < 1e-10
    heat = found.heatmap[0].numpy()
    assert (heat[labels == 0] == 0).all()
    assert heat[labels == 30] == pytest.approx(report.values[2], rel=1e-6)


def test_all_orders_that_respect_a_tree_give_what_its_siblings_give(model, scan, monkeypatch):
    tree = ucm(scan[0].float(), max_regions=5)
    players = players_of_tree(tree, Choice(5), None)
    assert len(players) == 5
    flips = iter(product([0.0, 1.0], repeat=4))

    class Coins:
        def random(self, count):
            return np.array(next(flips))

    drawn = Players.order
    monkeypatch.setattr(Players, "order", lambda self, random: drawn(self, Coins()))
    explain = pyadx.RegionShapley(model, fill=0.4, pairs=16, max_regions=5, exact=0)
    report = explain.run(scan, 1, tree).reports[0]
    nested = nested_pairs(players.splits, 0, 5)
    values = region_game(model, scan, [players.numbers == n for n in range(1, 6)], 0.4)
    assert np.abs(report.values - winter(values, nested)).max() < 1e-10 * abs(report.change)
    assert report.order == "tree"


def nested_pairs(splits, low, high):
    """The tree of splits as nested pairs."""
    if high - low == 1:
        return low
    middle = next(m for a, m, b in splits if (a, b) == (low, high))
    return nested_pairs(splits, low, middle), nested_pairs(splits, middle, high)


def test_orders_of_a_tree_keep_the_parts_of_every_node_together():
    random = np.random.default_rng(0)
    joins = random.permutation(29)
    players = Players(np.zeros(0), tuple(range(30)), tuple(map(str, range(30))), splits_of(joins))
    for _ in range(20):
        order = players.order(random)
        place = np.argsort(order)
        assert sorted(order) == list(range(30))
        for low, middle, high in players.splits:
            for a, b in ((low, middle), (middle, high), (low, high)):
                assert np.ptp(place[a:b]) == b - a - 1
    first = [players.order(random)[0] for _ in range(400)]
    assert len(set(first)) > 5


@pytest.mark.parametrize("fill", ["local", "region-mean", "mean", 0.0], ids=str)
@pytest.mark.parametrize("engine", ["incremental", "full"])
def test_shares_add_up_whatever_is_drawn(model, scan, labels, fill, engine):
    explain = pyadx.RegionShapley(model, fill=fill, pairs=3, engine=engine, seed=4, exact=0)
    report = explain.run(scan, 1, labels).reports[0]
    assert report.values.sum() == pytest.approx(report.change, rel=1e-12)
    assert abs(report.gap) < 1e-12
    assert report.drift < 1e-10
    assert (report.errors > 0).all()


def test_float32_shares_are_those_of_float64(model, scan, labels):
    exact = pyadx.RegionShapley(model, fill=0.4, pairs=3, exact=0).run(scan, 1, labels).reports[0]
    model, scan = model.float(), scan.float()
    report = pyadx.RegionShapley(model, fill=0.4, pairs=3, exact=0).run(scan, 1, labels).reports[0]
    assert np.abs(report.values - exact.values).max() < 1e-4 * abs(exact.change)
    assert report.values.sum() == pytest.approx(report.change, rel=1e-12)
    assert report.drift < 1e-4 * abs(exact.change)


def test_two_sided_occlusion_reports_what_it_leaves_open(model, scan, labels):
    report = pyadx.explainer("shapley:twosided", model).run(scan, 1, labels).reports[0]
    assert report.pairs == 0
    assert np.allclose(report.values, (report.alone + report.first) / 2)
    assert report.gap == pytest.approx(report.change - report.values.sum())
    assert np.isnan(report.errors).all()
    assert report.facts()["errors"] == [None] * 4


def test_it_stops_at_the_wanted_error_and_the_seed_decides(model, scan, labels):
    def run(**options):
        return pyadx.RegionShapley(model, fill=0.4, exact=0, **options).run(scan, 1, labels).reports[0]

    whole = run(pairs=12)
    error = float(whole.errors.max()) * 1.5
    stopped = run(pairs=12, error=error)
    assert 4 <= stopped.pairs < 12
    assert stopped.errors.max() <= error
    assert np.array_equal(run(pairs=12).values, whole.values)
    assert not np.array_equal(run(pairs=12, seed=1).values, whole.values)


def test_killed_and_resumed_equals_undisturbed(model, scan, labels, tmp_path, monkeypatch):
    explain = pyadx.RegionShapley(model.float(), fill=0.4, pairs=5, exact=0)
    scan = scan.float()
    expected = explain.run(scan, 1, labels).reports[0]
    from pyadx.explainers import game as module

    walked = []

    def walk(*arguments):
        if len(walked) == 3:
            raise KeyboardInterrupt
        walked.append(1)
        return original(*arguments)

    original = module.walk
    with monkeypatch.context() as patched:
        patched.setattr(module, "walk", walk)
        with pytest.raises(KeyboardInterrupt):
            explain.run(scan, 1, labels, store=tmp_path / "pairs")
    resumed = explain.run(scan, 1, labels, store=tmp_path / "pairs", resume=True).reports[0]
    assert np.array_equal(resumed.values, expected.values)
    assert np.array_equal(resumed.errors, expected.errors)
    with pytest.raises(ValueError, match="other"):
        pyadx.RegionShapley(model, fill=0.4, pairs=5, seed=1, exact=0).run(
            scan, 1, labels, store=tmp_path / "pairs", resume=True
        )


def test_a_region_that_changes_nothing_has_no_share(model, scan, labels):
    scan[:, labels == 17] = 0.4
    report = pyadx.RegionShapley(model, fill=0.4, pairs=2).run(scan, 1, labels).reports[0]
    assert report.values[1] == report.errors[1] == report.alone[1] == 0
    assert report.incremental + report.full == 3


def test_voxels_can_show_shares(model, scan, labels):
    explain = pyadx.RegionShapley(model, fill=0.4, pairs=2, show="voxel")
    found = explain.run(scan, 1, labels)
    assert float(found.heatmap.sum()) == pytest.approx(found.reports[0].change, rel=1e-4)


@pytest.mark.parametrize(
    ("regions", "names", "words"),
    [
        (np.zeros(SHAPE, int), None, "at least two regions, got 0"),
        (np.ones(SHAPE, int), None, "at least two regions, got 1"),
        (np.full(SHAPE, -1), None, "must not be negative"),
        (np.ones((3, 3, 3), int), None, "have shape"),
        (np.ones((2, *SHAPE), bool), None, "several masks must be made into one label volume"),
        (np.random.default_rng(0).random(SHAPE), None, "whole numbers"),
        (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3, {9: "hippocampus"}, "9 .hippocampus. has no voxel"),
    ],
)
def test_regions_that_do_not_fit_are_one_line(model, scan, regions, names, words):
    with pytest.raises((TypeError, ValueError), match=words) as told:
        pyadx.RegionShapley(model).run(scan, 1, regions, names=names)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("bad", [{"pairs": -1}, {"error": 0}, {"order": "random"}, {"max_regions": 1}])
def test_options_out_of_range_are_refused(model, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        pyadx.RegionShapley(model, **bad)
