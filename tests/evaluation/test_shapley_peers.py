"""benchmarks/shapley_peers.py: peers get our game and our tree, and the table compares what they find."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from reference.shapley import all_values, shapley, winter

from pyadx.explainers.players import splits_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmarks are not here")
MODULES = ("shapley_game", "shapley_estimators", "shapley_table")


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import shapley_estimators
    import shapley_game
    import shapley_table

    yield shapley_game, shapley_estimators, shapley_table
    for name in MODULES:
        sys.modules.pop(name, None)


class Curved:
    """A game of six players that interact, worked out at once."""

    players, batch = 6, 4

    def __init__(self):
        self.weights = np.random.default_rng(0).normal(size=6)
        self.evaluations = 0

    def __call__(self, present):
        rows = np.asarray(present, float).reshape(-1, 6)
        self.evaluations += len(rows)
        return rows @ self.weights + (rows @ self.weights) ** 3


SPLITS = splits_of(np.array([3, 0, 4, 1, 2]))


def nested(low, high):
    if high - low == 1:
        return low
    middle = next(m for a, m, b in SPLITS if (a, b) == (low, high))
    return nested(low, middle), nested(middle, high)


def test_trees_are_what_scipy_and_the_recursion_expect(scripts):
    from scipy.cluster.hierarchy import is_valid_linkage, leaves_list

    game, *_ = scripts
    tree = game.linkage(6, SPLITS)
    assert is_valid_linkage(tree)
    assert leaves_list(tree).tolist() == list(range(6))
    assert game.evaluations_of_all(2, ((0, 1, 2),)) == 4
    assert game.evaluations_of_all(4, splits_of(np.array([0, 2, 1]))) == 2 + 2 + 2 * 2 * 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["SHAP Permutation", "SHAP Kernel", "Captum ShapleyValueSampling",
                                  "Captum KernelShap", "SHAP Permutation, tree", "SHAP Partition",
                                  "shap-bpt, our tree"])  # fmt: skip
def test_peers_find_the_values_that_they_stand_for(scripts, name):
    _, estimators, _ = scripts
    peer = estimators.PEERS[name]
    pytest.importorskip(peer.package)
    values = all_values(lambda c: float(Curved()([[i in c for i in range(6)]])[0]), 6)
    expected = shapley(values, 6) if peer.order == "flat" else winter(values, nested(0, 6))
    calls = 20 if peer.random else 1
    found = [peer.call(estimators.Task(Curved(), SPLITS, 600, seed)) for seed in range(calls)]
    allowed = 0.1 if peer.random else 1e-9
    assert np.abs(np.mean(found, 0) - expected).max() < allowed * np.abs(expected).max()


def test_the_game_is_a_forward_of_the_filled_scan(scripts):
    game, *_ = scripts
    model = randomised(Plain(1, 2)).eval()
    volume, labels = torch.rand(1, 1, 12, 9, 11), np.zeros((12, 9, 11), int)
    labels[3:6], labels[6:, :4] = 1, 2
    own = game.Game(model, volume, 1, labels, torch.tensor(0.4))
    filled = volume.clone()
    filled[0, 0, 3:6] = 0.4
    with torch.no_grad():
        logits = model(torch.cat([volume, filled])).double()
    assert own([[1, 1], [0, 1]]) == pytest.approx((logits[:, 1] - logits[:, 0]).numpy(), rel=1e-5)
    assert own.evaluations == 2


def test_the_table_says_how_much_faster_at_the_same_error(scripts):
    *_, table = scripts
    ours = {"players": 2, "estimator": "pyadx, flat", "order": "flat", "seconds": 1.0, "evaluations": 100,
            "values": [1.0, 2.0], "errors": [0.1, 0.1], "change": 3.0, "repeats": 16}  # fmt: skip
    peer = ours | {
        "estimator": "peer",
        "seconds": 2.0,
        "errors": [0.2, 0.2],
        "values": [1.1, 9.0],
        "repeats": 5,
    }
    made = {"processor": "p", "threads": 1, "date": "d", "python": "3", "versions": {}}
    head = {"settings": {"network": "net", "pairs": 16}, "machine": made}
    text = table.markdown([head, ours, peer])
    assert "| peer | 100 | 2.0 | 20.0 | 6.667 | 1 of 2 | 2.0 | 8.0 | 8.0 |" in text
    exact = {k: v for k, v in peer.items() if k != "errors"} | {"exact_at": 90, "values": [1.01, 2.0]}
    assert "exact | 2 of 2 | 2.0 |" in table.markdown([head, ours, exact])
