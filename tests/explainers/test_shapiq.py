"""Coalitions on our engine are full forwards', and shapiq's estimators find what brute force finds."""

import copy
import sys

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from reference.shapley import all_values, shapley

import pyadx
from pyadx.explainers.coalition_scores import Coalitions
from pyadx.explainers.references import fill_of
from pyadx.inference.engines import RegionScorer
from pyadx.inference.segments import distinct_segments

SHAPE = (12, 9, 11)
LABELS = (2, 3, 5, 8, 13, 21)


@pytest.fixture
def model():
    return randomised(Plain(1, 3)).double().eval()


@pytest.fixture
def scan(generator):
    return torch.rand(1, *SHAPE, generator=generator, dtype=torch.float64) + 0.1


@pytest.fixture
def labels(generator):
    """Six regions with odd numbers, and a part of the scan that belongs to none."""
    found = torch.randint(0, 7, (4, 3, 4), generator=generator)
    found = found.repeat_interleave(3, 0).repeat_interleave(3, 1).repeat_interleave(3, 2)[:12, :9, :11]
    return np.array([0, *LABELS])[found.numpy()]


def coalitions_of(model, scan, labels, fill, engine="auto"):
    scorer = RegionScorer(
        engine, model, scan, 1, fill=fill_of(fill, scan, model), signed=True, score="log_odds"
    )
    numbers = np.searchsorted([0, *LABELS], labels)
    intervals = np.array([[i, i + 1] for i in range(1, len(LABELS) + 1)])
    return Coalitions(scorer, distinct_segments(scorer.volume, numbers, intervals, scorer.fill))


def by_forwards(model, scan, labels, present, filled):
    """Values of coalitions, by a forward each."""
    found = []
    for row in present:
        gone = np.isin(labels, [n for n, there in zip(LABELS, row, strict=True) if not there])
        volume = torch.where(torch.from_numpy(gone), filled, scan)
        with torch.no_grad():
            odds = torch.log_softmax(model(volume[None]), 1).exp()[0, 1]
        found.append(float(odds.log() - (1 - odds).log()))
    return np.array(found)


@pytest.mark.parametrize("engine", ["auto", "incremental", "full"])
@pytest.mark.parametrize("fill", ["local", "region-mean", 0.4], ids=str)
def test_any_coalitions_are_those_of_full_forwards(model, scan, labels, fill, engine):
    game = coalitions_of(model, scan, labels, fill, engine)
    present = np.random.default_rng(0).random((40, 6)) < 0.6
    present[:2] = [[False], [True]]
    expected = by_forwards(model, scan, labels, present, game.ends.reference)
    for order in (slice(None), slice(None, None, -1)):
        assert np.abs(game.scores(present[order]) - expected[order]).max() < 1e-9
    assert game.ends.reference_score == pytest.approx(expected[0], abs=1e-9)
    assert game.ends.score == pytest.approx(expected[1], abs=1e-9)


@pytest.mark.parametrize("costly", [False, True], ids=["commits", "forwards"])
def test_few_changes_are_commits_and_many_are_forwards(model, scan, labels, costly):
    game = coalitions_of(model, scan, labels, 0.4)
    game._costs[:] = 2.0 if costly else 1e-3
    present = np.random.default_rng(1).random((20, 6)) < 0.5
    expected = by_forwards(model, scan, labels, present, game.ends.reference)
    assert np.abs(game.scores(present) - expected).max() < 1e-9
    distinct = len(np.unique(np.concatenate([present, np.zeros((1, 6), bool)]), axis=0)) - 1
    assert (game.forwards, game.commits > 0) == ((distinct, False) if costly else (0, True))


def test_blocks_of_coalitions_give_the_same(model, scan, labels, monkeypatch):
    from pyadx.explainers import coalition_scores as module

    present = np.random.default_rng(2).random((30, 6)) < 0.5
    expected = coalitions_of(model, scan, labels, 0.4).scores(present)
    monkeypatch.setattr(module, "_TOGETHER", 7)
    assert np.abs(coalitions_of(model, scan, labels, 0.4).scores(present) - expected).max() < 1e-9


def test_rounding_is_looked_at_and_maps_are_made_anew(model, scan, labels, monkeypatch):
    from pyadx.explainers import coalition_scores as module

    monkeypatch.setattr(module, "_FIRST_CHECK", 16)
    game = coalitions_of(copy.deepcopy(model).float(), scan.float(), labels, 0.4)
    game._costs[:] = 1e-3
    random = np.random.default_rng(3)
    for _ in range(8):
        game.scores(random.random((10, 6)) < 0.5)
    assert 0 < game.drift < 1e-4 * abs(game.ends.change)
    seldom = game._check
    assert seldom > 16
    monkeypatch.setattr(module, "_LARGEST_DRIFT", 1e-12)
    for _ in range(30):
        game.scores(random.random((10, 6)) < 0.5)
    assert game._check < seldom
    present = random.random((10, 6)) < 0.5
    exact = by_forwards(model, scan, labels, present, game.ends.reference.double())
    assert np.abs(game.scores(present) - exact).max() < 1e-3


def test_a_region_that_changes_nothing_is_a_player_without_a_part(model, scan, labels):
    scan[:, labels == 5] = 0.4
    game = coalitions_of(model, scan, labels, 0.4)
    present = np.array([[1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 1, 0]], bool)
    assert np.ptp(game.scores(present)) == 0


class TestShapiq:
    """What needs the library itself."""

    @pytest.fixture
    def shapiq(self):
        return pytest.importorskip("shapiq")

    @pytest.fixture
    def values(self, model, scan, labels):
        def value(coalition):
            row = [[player in coalition for player in range(6)]]
            return by_forwards(model, scan, labels, row, torch.tensor(0.4, dtype=torch.float64))[0]

        return all_values(value, 6)

    def test_the_exact_computer_gives_brute_force(self, shapiq, model, scan, labels, values):
        game = pyadx.shapiq_game(model, scan, 1, labels, fill=0.4, names={5: "hippocampus"})
        assert isinstance(game, shapiq.Game)
        assert game.players.names == ("2", "3", "hippocampus", "8", "13", "21")
        computer = shapiq.ExactComputer(game, n_players=6)
        found = computer("SV", order=1)
        alone = [found[(player,)] for player in range(6)]
        assert np.abs(np.array(alone) - shapley(values, 6)).max() < 1e-9
        pairs = computer("SII", order=2)
        assert pairs[(1, 4)] == pytest.approx(interaction(values, 1, 4), abs=1e-9)

    def test_approximators_with_the_whole_budget_are_exact(self, shapiq, model, scan, labels, values):
        game = pyadx.shapiq_game(model, scan, 1, labels, fill=0.4)
        found = shapiq.KernelSHAP(n=6, random_state=0).approximate(64, game)
        alone = [found[(player,)] for player in range(6)]
        assert np.abs(np.array(alone) - shapley(values, 6)).max() < 1e-6
        sampled = shapiq.PermutationSamplingSV(n=6, random_state=0).approximate(600, game)
        alone = np.array([sampled[(player,)] for player in range(6)])
        assert np.abs(alone - shapley(values, 6)).max() < 0.3 * np.abs(shapley(values, 6)).max()

    def test_values_start_at_the_empty_coalition_only_if_asked(self, shapiq, model, scan, labels, values):
        none = np.zeros((1, 6), bool)
        assert pyadx.shapiq_game(model, scan, 1, labels, fill=0.4)(none) == pytest.approx(0, abs=1e-9)
        bare = pyadx.shapiq_game(model, scan, 1, labels, fill=0.4, normalize=False)
        assert bare(none)[0] == pytest.approx(values[frozenset()], abs=1e-9)

    def test_a_hierarchy_is_cut(self, shapiq, model, scan):
        from pyadx.segmentation import ucm

        tree = ucm(scan[0].float(), max_regions=5)
        assert pyadx.shapiq_game(model, scan, 1, tree, max_regions=5).n_players == 5

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"volume": torch.rand(2, 1, *SHAPE, dtype=torch.float64)}, "one scan, got a batch of 2"),
            ({"max_regions": 1}, "max_regions must be a whole number from 2"),
            ({"regions": np.ones(SHAPE, int)}, "at least two regions, got 1"),
            ({"engine": "fast"}, "engine must be one of"),
        ],
    )
    def test_what_does_not_fit_is_one_line(self, shapiq, model, scan, labels, change, words):
        given = {"volume": scan, "target": 1, "regions": labels} | change
        with pytest.raises(ValueError, match=words) as told:
            pyadx.shapiq_game(model, **given)
        assert "\n" not in str(told.value)


def interaction(values, i, j):
    """Mean over all orders of what i and j do together beyond what each does."""
    from math import factorial

    total = 0.0
    for coalition, value in values.items():
        if not {i, j} & coalition:
            weight = factorial(len(coalition)) * factorial(6 - len(coalition) - 2) / factorial(5)
            both = values[coalition | {i, j}] - values[coalition | {i}] - values[coalition | {j}]
            total += weight * (both + value)
    return total


def test_without_shapiq_it_says_what_to_install(model, scan, labels, monkeypatch):
    monkeypatch.setitem(sys.modules, "shapiq", None)
    with pytest.raises(ValueError, match=r"pip install 'pyadx\[shapiq\]'"):
        pyadx.shapiq_game(model, scan, 1, labels)
