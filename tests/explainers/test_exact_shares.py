"""Exact shares equal brute force over all subsets or orders, in pieces and after a kill, too."""

from itertools import pairwise, permutations, product

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from reference.shapley import nested_shapley, pair_interaction, region_game, shapley, winter

import pyadx
from pyadx.explainers import exact_shares
from pyadx.explainers.coalitions import (
    GameSize,
    draw_order,
    game_size,
    splits_of,
    splits_of_groups,
    tree_of,
)
from pyadx.explainers.players import Choice, players_of_tree
from pyadx.segmentation import ucm

SHAPE = (12, 9, 11)


@pytest.fixture
def model():
    return randomised(Plain(1, 3)).double().eval()


@pytest.fixture
def scan(generator):
    return torch.rand(1, *SHAPE, generator=generator, dtype=torch.float64) + 0.1


def blocks(count, generator):
    """A label volume of ``count`` regions that are in several pieces, and a part without any."""
    coarse = torch.randint(0, count + 1, (6, 5, 6), generator=generator)
    coarse.view(-1)[: count + 1] = torch.arange(count + 1)
    return (
        coarse.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)[:12, :9, :11].numpy()
    )


def tree_games(splits, count):
    """Nested lists of players, as the splits have them."""
    made = {}
    for bounds in splits[::-1]:
        made[bounds[0], bounds[-1]] = [
            made.get(block, block[0] if block[1] - block[0] == 1 else None) for block in pairwise(bounds)
        ]
    return made[0, count]


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize(("piece", "states"), [(1024, 64), (4, 3), (1, 1)])
def test_few_regions_are_exact(model, scan, generator, monkeypatch, count, piece, states):
    monkeypatch.setattr(exact_shares, "_PIECE", piece)
    monkeypatch.setattr(exact_shares, "_STATES", states)
    labels = blocks(count, generator)
    report = pyadx.RegionShapley(model, fill=0.4).run(scan, 1, labels).reports[0]
    values = region_game(model, scan, [labels == n + 1 for n in range(count)], 0.4)
    assert np.abs(report.values - shapley(values, count)).max() < 1e-10 * abs(report.change)
    assert report.exact
    assert (report.errors == 0).all()
    assert report.pairs == 0
    assert report.size == GameSize(2**count, 1)
    assert abs(report.gap) < 1e-12
    assert f"exact, {2**count} coalitions (depth 1)" in report.summary()


def test_twelve_players_are_exact(model, scan, generator):
    labels = blocks(12, generator)
    report = pyadx.RegionShapley(model, fill=0.4, exact=4096).run(scan, 1, labels).reports[0]
    values = region_game(model, scan, [labels == n + 1 for n in range(12)], 0.4)
    assert report.size.coalitions == 4096
    assert np.abs(report.values - shapley(values, 12)).max() < 1e-10 * abs(report.change)


@pytest.mark.parametrize("engine", ["incremental", "full"])
@pytest.mark.parametrize("order", ["tree", "balanced"])
@pytest.mark.parametrize(("piece", "states"), [(1024, 64), (8, 2)])
def test_trees_are_exact(model, scan, monkeypatch, engine, order, piece, states):
    monkeypatch.setattr(exact_shares, "_PIECE", piece)
    monkeypatch.setattr(exact_shares, "_STATES", states)
    tree = ucm(scan[0].float(), max_regions=7)
    players = players_of_tree(tree, Choice(7, order), None)
    explain = pyadx.RegionShapley(model, fill=0.4, max_regions=7, order=order, exact=10**6, engine=engine)
    report = explain.run(scan, 1, tree).reports[0]
    values = region_game(model, scan, [players.numbers == n for n in range(1, 8)], 0.4)
    nested = tree_games(players.splits, 7)
    assert np.abs(report.values - winter(values, nested)).max() < 1e-10 * abs(report.change)
    assert np.abs(report.values - nested_shapley(values, nested)).max() < 1e-10 * abs(report.change)
    assert report.exact
    assert report.order == order


GROUPS = {
    2: ("left", "frontal"), 3: ("left", "frontal"), 5: ("left", "temporal"), 1: ("right", "frontal"),
    4: ("right", "temporal"), 6: ("right", "temporal"),
}  # fmt: skip


def test_nested_groups_are_exact(model, scan, generator, monkeypatch):
    monkeypatch.setattr(exact_shares, "_PIECE", 6)
    labels = blocks(7, generator)  # the seventh belongs to no group
    explain = pyadx.RegionShapley(model, fill=0.4)
    report = explain.run(scan, 1, labels, groups=GROUPS).reports[0]
    assert report.labels == (2, 3, 5, 1, 4, 6, 7)
    values = region_game(model, scan, [labels == n for n in report.labels], 0.4)
    expected = nested_shapley(values, [[[0, 1], 2], [3, [4, 5]], 6])
    assert np.abs(report.values - expected).max() < 1e-10 * abs(report.change)
    assert report.exact
    flat = pyadx.RegionShapley(model, fill=0.4, order="flat").run(scan, 1, labels, groups=GROUPS)
    assert np.abs(flat.reports[0].values - shapley(values, 7)).max() < 1e-10 * abs(report.change)


def test_drawn_orders_of_nested_groups_agree_with_exact_values(model, scan, generator):
    labels = blocks(7, generator)
    exact = pyadx.RegionShapley(model, fill=0.4).run(scan, 1, labels, groups=GROUPS).reports[0]
    drawn = pyadx.RegionShapley(model, fill=0.4, exact=0, pairs=60).run(scan, 1, labels, groups=GROUPS)
    found = drawn.reports[0]
    assert not found.exact
    assert (np.abs(found.values - exact.values) <= 4 * found.errors + 1e-12).all()


def test_groups_can_be_players(model, scan, generator):
    labels = blocks(7, generator)
    explain = pyadx.RegionShapley(model, fill=0.4, players="group")
    found = explain.run(scan, 1, labels, groups=GROUPS, names={7: "rest"})
    report = found.reports[0]
    assert report.names == ("left", "right", "rest")
    assert report.members == ((2, 3, 5), (1, 4, 6), (7,))
    values = region_game(model, scan, [np.isin(labels, own) for own in report.members], 0.4)
    assert np.abs(report.values - shapley(values, 3)).max() < 1e-10 * abs(report.change)
    heat = found.heatmap[0].numpy()
    assert heat[labels == 4] == pytest.approx(report.values[1], rel=1e-6)
    assert heat[labels == 6] == pytest.approx(report.values[1], rel=1e-6)


def test_interactions_of_pairs_are_those_of_full_forwards(model, scan, generator):
    labels = blocks(5, generator)
    report = pyadx.RegionShapley(model, fill=0.4).run(scan, 1, labels).reports[0]
    found = report.pairwise
    values = region_game(model, scan, [labels == n + 1 for n in range(5)], 0.4)
    assert sorted(found.labels) == [1, 2, 3, 4, 5]
    assert np.array_equal(found.labels, 1 + np.argsort(-np.abs(report.values)))
    for a, b in permutations(range(5), 2):
        expected = pair_interaction(values, 5, found.labels[a] - 1, found.labels[b] - 1)
        assert abs(found.matrix[a, b] - expected) < 1e-10 * abs(report.change)
    assert np.isnan(np.diag(found.matrix)).all()
    facts = report.facts()["pairwise"]
    assert facts["matrix"][0][0] is None
    assert facts["matrix"][0][1] == found.matrix[0, 1]


def test_pairs_can_be_chosen(model, scan, generator):
    labels = blocks(5, generator)
    explain = pyadx.RegionShapley(model, fill=0.4, interactions=0)
    report = explain.run(scan, 1, labels, pairwise=[4, 2]).reports[0]
    assert report.pairwise.labels == (4, 2)
    whole = pyadx.RegionShapley(model, fill=0.4).run(scan, 1, labels).reports[0].pairwise
    a, b = whole.labels.index(4), whole.labels.index(2)
    assert report.pairwise.matrix[0, 1] == pytest.approx(whole.matrix[a, b], rel=1e-9)
    assert explain.run(scan, 1, labels).reports[0].pairwise is None
    for bad, words in (([4, 9], "no region has the label 9"), ([4, 4], "given twice")):
        with pytest.raises(ValueError, match=words):
            explain.run(scan, 1, labels, pairwise=bad)


def test_regions_that_change_nothing_have_no_part(model, scan, generator):
    labels = blocks(5, generator)
    scan[:, (labels == 2) | (labels == 3)] = 0.4
    report = pyadx.RegionShapley(model, fill=0.4).run(scan, 1, labels).reports[0]
    assert (report.values[[1, 2]] == 0).all()
    assert abs(report.gap) < 1e-12
    assert np.nan_to_num(report.pairwise.matrix[report.pairwise.labels.index(2)]).any() == 0
    scan[:] = 0.4
    report = pyadx.RegionShapley(model, fill=0.4).run(scan, 1, labels).reports[0]
    assert (report.values == 0).all()
    assert report.evaluated == 1 or report.incremental + report.full == 0


@pytest.mark.parametrize("after", [0, 1, 4, 7])
def test_killed_and_resumed_equals_undisturbed(model, scan, generator, tmp_path, monkeypatch, after):
    monkeypatch.setattr(exact_shares, "_PIECE", 6)
    monkeypatch.setattr(exact_shares, "_STATES", 2)
    labels = blocks(7, generator)
    model, scan = model.float(), scan.float()
    explain = pyadx.RegionShapley(model, fill=0.4)
    expected = explain.run(scan, 1, labels, groups=GROUPS).reports[0]
    started = []
    original = exact_shares.ExactShares._start

    def start(self, state):
        if len(started) == after:
            raise KeyboardInterrupt
        started.append(1)
        original(self, state)

    with monkeypatch.context() as patched:
        patched.setattr(exact_shares.ExactShares, "_start", start)
        with pytest.raises(KeyboardInterrupt):
            explain.run(scan, 1, labels, groups=GROUPS, store=tmp_path / "pieces")
    resumed = explain.run(scan, 1, labels, groups=GROUPS, store=tmp_path / "pieces", resume=True).reports[0]
    assert np.array_equal(resumed.values, expected.values)
    assert resumed.drift == expected.drift
    with pytest.raises(ValueError, match="other"):
        pyadx.RegionShapley(model, fill=0.4, exact=0).run(
            scan, 1, labels, groups=GROUPS, store=tmp_path / "pieces", resume=True
        )


def test_too_many_coalitions_are_drawn_and_said(model, scan, generator):
    labels = blocks(7, generator)
    explain = pyadx.RegionShapley(model, fill=0.4, exact=100, pairs=2)
    with pytest.warns(
        UserWarning, match=r"exact values take 128 coalitions \(depth 1\), exact= allows 100"
    ):
        report = explain.run(scan, 1, labels).reports[0]
    assert not report.exact
    assert report.pairs == 2
    assert report.facts()["coalitions"] == 128


def test_size_is_the_number_of_coalitions_that_are_scored(model, scan, monkeypatch):
    tree = ucm(scan[0].float(), max_regions=9)
    scored = []
    original = exact_shares.ExactShares._scores

    def scores(self, state, nodes):
        scored.append(len(nodes))
        return original(self, state, nodes)

    monkeypatch.setattr(exact_shares.ExactShares, "_scores", scores)
    explain = pyadx.RegionShapley(model, fill=0.4, max_regions=9, exact=10**6)
    report = explain.run(scan, 1, tree).reports[0]
    assert sum(scored) + 2 == report.size.coalitions


def test_sizes_of_trees():
    assert game_size((), 100).coalitions == 2**100
    assert game_size((), 100).words == "10^30 coalitions (depth 1)"
    chain = splits_of(np.arange(6)[::-1].copy())
    assert game_size(chain, 7) == GameSize(2 + 2 * (2**6 - 1), 6)
    even = splits_of(np.zeros(7, int), balanced=True)
    assert game_size(even, 8).depth <= 4
    joins = np.arange(199)  # a chain: the deepest tree there is
    assert game_size(splits_of(joins), 200).depth == 199
    assert game_size(splits_of(joins, balanced=True), 200).depth <= 14
    for splits, count in ((chain, 7), (even, 8), (splits_of(joins, balanced=True), 200)):
        assert tree_of(splits, count).coalitions + 2 == game_size(splits, count).coalitions


def test_all_orders_of_groups_are_drawn():
    splits = splits_of_groups([("a",), ("a",), ("a",), ("b",), ()])
    assert splits == ((0, 3, 4, 5), (0, 1, 2, 3))
    random = np.random.default_rng(0)
    drawn = {tuple(draw_order(splits, 5, random)) for _ in range(2000)}
    wanted = {
        tuple(i for block in outer for i in block)
        for first in permutations(range(3))
        for outer in permutations([list(first), [3], [4]])
    }
    assert drawn == wanted
    assert len(list(product(range(6), range(6)))) == len(wanted)


@pytest.mark.parametrize(
    ("options", "more", "words"),
    [
        ({"players": "group"}, {}, "needs the groups of labels"),
        ({}, {"groups": {9: "left"}}, "region 9 .left. has no voxel"),
        (
            {"players": "group"},
            {"groups": dict.fromkeys(range(1, 6), "all")},
            "at least two regions, got 1",
        ),
        ({"exact": -1}, {}, "exact must be a whole number from 0"),
        ({"players": "lobe"}, {}, "players must be one of"),
        ({"interactions": -1}, {}, "interactions must be"),
    ],
)
def test_what_does_not_fit_is_one_line(model, scan, generator, options, more, words):
    with pytest.raises(ValueError, match=words) as told:
        pyadx.RegionShapley(model, fill=0.4, **options).run(scan, 1, blocks(5, generator), **more)
    assert "\n" not in str(told.value)


def test_groups_of_a_hierarchy_are_refused(model, scan):
    with pytest.raises(ValueError, match="belong to the numbers of a label volume"):
        pyadx.RegionShapley(model).run(scan, 1, groups={1: "left"})
