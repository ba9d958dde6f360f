"""Deletion and insertion equal one forward after the other; the sanity checks tell good maps from bad."""

import numpy as np
import pytest
import torch
from networks import randomised
from reference import faithfulness as slow
from torch import nn

from pyadx import GradCAM
from pyadx.evaluation import (
    agreement,
    curve_walks,
    deletion_insertion,
    randomisation,
    rank_correlation,
    stability,
)
from pyadx.inference import IncrementalScorer
from pyadx.models import build

pytest.importorskip("scipy")


class CornerNet(nn.Module):
    """Its class 1 is what lies in one corner: the right explanation is known."""

    def forward(self, x):
        evidence = x[:, :, :3, :3, :3].sum((1, 2, 3, 4)) - 8
        return torch.stack([-evidence, evidence], 1)


@pytest.fixture
def network():
    return randomised(
        nn.Sequential(
            nn.Conv3d(1, 4, 3),
            nn.ReLU(),
            nn.Conv3d(4, 3, 3),
            nn.AdaptiveAvgPool3d(2),
            nn.Flatten(),
            nn.Linear(24, 2),
        )
    ).double()


@pytest.mark.parametrize("steps", [1, 5, 7])
def test_curves_equal_the_slow_reference(network, steps):
    torch.manual_seed(0)
    volume = torch.rand(1, 7, 8, 9, dtype=torch.float64)
    volume[:, :2] = 0  # background is not ranked
    heat = torch.randint(-4, 5, (7, 8, 9)).float()  # ties
    found = deletion_insertion(network, volume, heat, 1, steps=steps)
    ranked = (volume != 0)[0].numpy()
    deletion, insertion = slow.curves(network, volume, heat.numpy(), 1, steps, ranked)
    assert np.allclose(found.deletion.score, deletion, rtol=0, atol=1e-12)
    assert np.allclose(found.insertion.score, insertion, rtol=0, atol=1e-12)
    assert found.deletion.auc == pytest.approx(np.trapezoid(deletion, np.linspace(0, 1, steps + 1)))
    assert found.deletion.score[0] == found.insertion.score[-1]
    assert found.deletion.score[-1] == found.insertion.score[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("fill", [0.0, "local"])
def test_curves_at_a_moving_baseline_are_those_of_full_forwards(network, dtype, fill):
    torch.manual_seed(0)
    volume = torch.rand(1, 11, 8, 9, dtype=dtype) + 0.1
    volume[:, :2] = 0
    heat = torch.randint(-4, 5, (11, 8, 9)).float()
    network = network.to(dtype)
    options = {"steps": 6, "fill": fill, "score": "log_odds"}
    whole = deletion_insertion(network, volume, heat, 1, engine="full", **options)
    found = deletion_insertion(network, volume, heat, 1, engine="incremental", **options)
    limit = 1e-12 if dtype == torch.float64 else 2e-6 * np.abs(whole.deletion.score).max()
    for name in ("deletion", "insertion"):
        expected = getattr(whole, name).score
        assert np.ptp(expected) > 1e-3
        assert np.abs(getattr(found, name).score - expected).max() < limit
    assert found.deletion.score[0] == found.insertion.score[-1]
    assert found.deletion.score[-1] == found.insertion.score[0]


def test_groups_that_change_nothing_keep_their_place_on_the_curve(network):
    volume = torch.rand(1, 8, 8, 8, dtype=torch.float64) + 0.1
    volume[:, 4:] = 0.0
    heat = torch.arange(512.0).flip(0).reshape(8, 8, 8)
    inside = torch.ones(8, 8, 8, dtype=torch.bool)
    curves = [
        deletion_insertion(network, volume, heat, 1, inside=inside, steps=8, engine=engine)
        for engine in ("full", "incremental")
    ]
    assert np.abs(curves[0].deletion.score - curves[1].deletion.score).max() < 1e-12
    assert np.ptp(curves[1].deletion.score[4:]) == 0


def slab_by_slab(shape):
    """A map whose groups are compact."""
    return torch.arange(float(np.prod(shape))).reshape(shape)


def test_compact_groups_are_walked_and_scattered_ones_are_not(monkeypatch):
    network = build("resnet-shallow-gap", (48, 48, 48), seed=0)
    volume = torch.rand(1, 48, 48, 48)
    monkeypatch.setattr(curve_walks, "_LEAST_GAIN", 0.5)  # it is a small network
    walked = []
    original = IncrementalScorer.commit
    monkeypatch.setattr(IncrementalScorer, "commit", lambda *a, **k: walked.append(1) or original(*a, **k))
    compact = slab_by_slab((48, 48, 48))
    found = deletion_insertion(network, volume, compact, 1, steps=48, fill="mean", score="logit")
    assert len(walked) == 2
    whole = deletion_insertion(
        network, volume, compact, 1, steps=48, fill="mean", score="logit", engine="full"
    )
    for name in ("deletion", "insertion"):
        expected = getattr(whole, name).score
        assert np.abs(getattr(found, name).score - expected).max() < 1e-5 * np.ptp(expected)
    deletion_insertion(network, volume, torch.rand(48, 48, 48), 1, steps=4, fill="mean")
    assert len(walked) == 2


def test_a_model_that_cannot_be_traced_runs_in_full_unless_that_is_refused():
    volume = torch.rand(1, 10, 10, 10) + 0.5

    class Odd(CornerNet):
        def forward(self, x):
            return super().forward(x) if float(x.sum()) > 0 else super().forward(-x)

    heat = slab_by_slab((10, 10, 10))
    curves = deletion_insertion(Odd(), volume, heat, 1, steps=10)
    expected = deletion_insertion(CornerNet(), volume, heat, 1, steps=10, engine="full")
    assert np.array_equal(curves.deletion.score, expected.deletion.score)
    with pytest.raises(ValueError, match="trace"):
        deletion_insertion(Odd(), volume, heat, 1, steps=10, engine="incremental")


def test_fill_and_mask_are_respected(network):
    torch.manual_seed(1)
    volume = torch.rand(1, 6, 6, 6, dtype=torch.float64)
    heat = torch.rand(6, 6, 6)
    inside = torch.rand(6, 6, 6) > 0.5
    found = deletion_insertion(network, volume[None], heat, 0, inside=inside, steps=4, fill=0.3)
    deletion, insertion = slow.curves(network, volume, heat.numpy(), 0, 4, inside.numpy(), 0.3)
    assert np.allclose(found.deletion.score, deletion, rtol=0, atol=1e-12)
    assert np.allclose(found.insertion.score, insertion, rtol=0, atol=1e-12)


def test_a_right_map_beats_a_random_one_and_its_opposite():
    torch.manual_seed(0)
    volume = torch.rand(1, 10, 10, 10) * 0.5 + 0.5
    right = torch.zeros(10, 10, 10)
    right[:3, :3, :3] = 1
    maps = {"right": right, "random": torch.rand(10, 10, 10), "opposite": 1 - right}
    found = {name: deletion_insertion(CornerNet(), volume, heat, 1) for name, heat in maps.items()}
    deletion = [found[name].deletion.auc for name in ("right", "random", "opposite")]
    insertion = [found[name].insertion.auc for name in ("opposite", "random", "right")]
    assert deletion == sorted(deletion)
    assert insertion == sorted(insertion)


def test_the_model_is_left_as_it_was(network):
    network.train()
    before = [p.clone() for p in network.parameters()]
    deletion_insertion(
        network, torch.rand(1, 6, 6, 6, dtype=torch.float64), torch.rand(6, 6, 6), 1, steps=3
    )
    assert network.training
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heatmap": torch.full((6, 6, 6), torch.nan)}, "NaN or infinity"),
        ({"heatmap": torch.zeros(6, 6, 5)}, "has shape"),
        ({"steps": 0}, "steps must be"),
        ({"steps": 1000}, "ranked voxels, 216"),
        ({"inside": torch.ones(6, 6, 6)}, "must be a bool mask"),
        ({"score": "loss"}, "score must be"),
        ({"batch_size": 0}, "batch_size"),
        ({"engine": "fast"}, "engine must be"),
        ({"volume": torch.rand(2, 1, 6, 6, 6)}, "one scan"),
    ],
)
def test_bad_input_is_told(network, change, words):
    given = {"volume": torch.rand(1, 6, 6, 6), "heatmap": torch.rand(6, 6, 6), "target": 1, **change}
    with pytest.raises(ValueError, match=words):
        deletion_insertion(network.float(), **given)


def test_rank_correlation_is_spearmans_of_absolute_values():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    one = random.integers(-5, 6, (6, 7, 8)).astype(np.float32)
    other = one + random.normal(0, 3, one.shape)
    inside = random.random(one.shape) < 0.6
    expected = stats.spearmanr(np.abs(one[inside]), np.abs(other[inside])).statistic
    assert rank_correlation(one, torch.from_numpy(other), inside) == pytest.approx(expected)
    assert np.isnan(rank_correlation(one, np.ones_like(one)))
    names, table = agreement({"a": one, "b": other, "c": -one}, inside)
    assert names == ["a", "b", "c"]
    assert np.array_equal(table, table.T)
    assert table[0, 2] == pytest.approx(1)
    assert table[0, 1] == pytest.approx(expected)


def test_randomising_weights_changes_a_map_that_follows_them_and_not_one_that_ignores_them():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv3d(1, 8, 3),
        nn.ReLU(),
        nn.Conv3d(8, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    volume = torch.rand(1, 1, 10, 10, 10)
    before = [p.clone() for p in model.parameters()]
    by_weights = randomisation(model, lambda m: GradCAM(m, layer="2")(volume, target=1)[0])
    edges = randomisation(model, lambda m: volume[0, 0])
    assert [name for name, _ in by_weights] == ["6", "2", "0"]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert by_weights[-1][1] < 0.8
    assert [value for _, value in edges] == pytest.approx([1, 1, 1])


def test_stability_is_1_without_reaction_and_falls_with_noise():
    volume = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    volume[:, :3] = 0
    still = stability(lambda v: torch.arange(512.0).reshape(8, 8, 8), volume)
    little = np.mean(stability(lambda v: v[0], volume, level=0.01))
    much = np.mean(stability(lambda v: v[0], volume, level=0.5))
    assert still == pytest.approx([1] * 5)
    assert 1 > little > much
    seen = []
    stability(lambda v: seen.append(v) or v[0], volume, draws=1)
    assert (seen[1][:, :3] == 0).all()
    assert not torch.equal(seen[1], volume)
    with pytest.raises(ValueError, match="level must be positive"):
        stability(lambda v: v[0], volume, level=0)
