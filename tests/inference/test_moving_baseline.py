"""Regions that are filled for good: cached maps follow, and scores are those of the scan as it is then."""

import numpy as np
import pytest
import torch
from networks import Plain, lively, randomised

from pyadx import models
from pyadx.explainers.references.resolve import fill_of
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.engines import RegionScorer
from pyadx.inference.incremental.moving import MovingProgram
from pyadx.inference.segments import distinct_segments


def players(shape, count, generator):
    """Random labels, some of them in many pieces."""
    coarse = torch.randint(0, count, [-(-n // 5) for n in shape], generator=generator)
    for axis in range(3):
        coarse = coarse.repeat_interleave(5, axis).narrow(axis, 0, shape[axis])
    return coarse.numpy()


def walk(scorer, regions, scan, order):
    """Fill in an order, then bring the scan back in the same one; scores along the way."""
    filled = [scorer.commit(regions.part(np.array([place]))) for place in order]
    back = [scorer.commit(regions.part(np.array([place])), scan) for place in order]
    return torch.cat([*filled, *back])


def small(generator):
    """A network of two convolutions, and a scan, in float64."""
    scan = torch.rand(1, 14, 11, 13, generator=generator, dtype=torch.float64)
    return randomised(Plain(1, 2)).double().eval(), scan


def ours(name, *shape):
    return models.build(name, shape, seed=0), 1, shape


NETWORKS = {
    "plain": lambda: (randomised(Plain(2, 3)), 2, (22, 19, 24)),
    "resnet-shallow-gap": lambda: (
        models.build("resnet-shallow-gap", (20, 17, 24), seed=0),
        1,
        (20, 17, 24),
    ),
    "resnet-gap": lambda: ours("resnet-gap", 21, 24, 18),
    "normalised": lambda: (normalised(), 1, (22, 19, 24)),
}


def normalised():
    """Group norms: nothing behind the first is local."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool3d(2),
        torch.nn.Conv3d(8, 8, 3), torch.nn.GroupNorm(2, 8), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(),
        torch.nn.Linear(8, 2),
    )  # fmt: skip


@pytest.fixture(params=NETWORKS)
def case(request, generator):
    model, channels, shape = NETWORKS[request.param]()
    scan = torch.rand(channels, *shape, generator=generator, dtype=torch.float64)
    model = lively(model.float(), scan[None].float()).double().eval()
    labels = players(shape, 6, generator)
    regions = distinct_segments(scan, labels, np.array([[i, i + 1] for i in range(6)]), scan * 0)
    return model, scan, regions


def test_scores_along_a_walk_are_those_of_full_forwards(case):
    model, scan, regions = case
    order = [3, 0, 5, 1, 4, 2]
    kept = scan.clone()
    actual = walk(IncrementalScorer(model, scan, 1, score="logit"), regions, scan, order)
    expected = walk(FullScorer(model, scan, 1, score="logit"), regions, scan, order)
    assert (actual - expected).abs().max() < 1e-10 * expected.abs().max()
    assert torch.equal(scan, kept)


def test_regions_are_scored_from_where_the_baseline_is(case):
    model, scan, regions = case
    fast, slow = (S(model, scan, 1, score="logit", signed=True) for S in (IncrementalScorer, FullScorer))
    for scorer in (fast, slow):
        scorer.commit(regions.part(np.array([2, 4])))
    actual, expected = fast.score_regions(regions), slow.score_regions(regions)
    assert (actual - expected).abs().max() < 1e-10 * expected.abs().max()
    assert actual[[2, 4]].abs().max() < 1e-12 * expected.abs().max()


def test_a_thousand_commits_stay_exact(generator):
    model, scan = (
        randomised(Plain(1, 2)).double().eval(),
        torch.rand(1, 14, 11, 13, generator=generator).double(),
    )
    labels = torch.randint(0, 40, (14, 11, 13), generator=generator).numpy()
    regions = distinct_segments(scan, labels, np.array([[i, i + 1] for i in range(40)]), scan * 0)
    scorer, order = IncrementalScorer(model, scan, 1, score="logit"), np.random.default_rng(0)
    for _ in range(13):  # 80 commits each
        walk(scorer, regions, scan, order.permutation(40))
    last = walk(scorer, regions, scan, range(40))
    expected = walk(FullScorer(model, scan, 1, score="logit"), regions, scan, range(40))
    assert (last - expected).abs().max() < 1e-10 * expected.abs().max()
    assert scorer.rebase() < 1e-10 * expected.abs().max()


def test_float32_drift_is_measured_and_ended(generator):
    model, scan = randomised(Plain(1, 2)).eval(), torch.rand(1, 14, 11, 13, generator=generator)
    labels = torch.randint(0, 9, (14, 11, 13), generator=generator).numpy()
    regions = distinct_segments(scan, labels, np.array([[i, i + 1] for i in range(9)]), scan * 0)
    scorer = IncrementalScorer(model, scan, 1, score="logit")
    start = scorer.reference
    for _ in range(5):
        walk(scorer, regions, scan, range(9))
    drift = abs(scorer.reference - start)
    assert drift < 1e-3 * abs(start)
    assert scorer.rebase() == pytest.approx(drift, abs=1e-6)
    assert scorer.reference == pytest.approx(start, rel=1e-6)


@pytest.mark.parametrize("engine", ["auto", "incremental", "full"])
def test_coming_back_to_a_mark_is_as_if_nothing_had_been_done(case, engine):
    model, scan, regions = case
    kept, other = scan.clone(), scan.flip(1)
    scorer = RegionScorer(engine, model.float(), scan.float(), 1, score="logit", signed=True)
    scorer.commit(regions.part(np.array([1])))
    volume, score = scorer.volume.clone(), scorer.reference
    snapshot = scorer.snapshot(regions)
    expected = scorer.score_regions(regions)
    first = walk(scorer, regions, scan.float(), [3, 0, 5])
    for away in (lambda: scorer.rebase(other), lambda: scorer.refill(other * 0.5), lambda: None):
        away()
        scorer.refill(torch.zeros_like(volume))
        scorer.restore(snapshot)
        assert scorer.reference == score
        assert torch.equal(scorer.volume, volume)
        assert torch.equal(scorer.score_regions(regions), expected)
        scorer.restore(snapshot)
        assert torch.equal(walk(scorer, regions, scan.float(), [3, 0, 5]), first)
    assert torch.equal(scan, kept)
    assert torch.equal(snapshot.volume, volume)


def test_a_mark_keeps_no_maps_where_memory_is_bounded(generator):
    model, scan = small(generator)
    labels = players(scan.shape[1:], 4, generator)
    regions = distinct_segments(scan, labels, np.array([[i, i + 1] for i in range(4)]), scan * 0)
    scorer = IncrementalScorer(model, scan, 1, score="logit", max_memory=1 << 24)
    snapshot = scorer.snapshot(regions)
    assert snapshot.kept is None
    expected = walk(FullScorer(model, scan, 1, score="logit"), regions, scan, range(4))
    for _ in range(2):
        scorer.restore(snapshot)
        assert (walk(scorer, regions, scan, range(4)) - expected).abs().max() < 1e-10


@pytest.mark.parametrize("engine", ["auto", "incremental", "full"])
def test_any_engine_moves(engine, generator):
    model, scan = (
        randomised(Plain(1, 2)).double().eval(),
        torch.rand(1, 14, 11, 13, generator=generator).double(),
    )
    scorer = RegionScorer(engine, model, scan, 1, score="logit", fill=0.3)
    slow = FullScorer(model, scan, 1, score="logit", fill=0.3)
    regions = slow.regions(torch.tensor([[0, 0, 0, 4, 5, 6], [3, 2, 1, 14, 11, 13]]))
    assert torch.allclose(scorer.commit(regions), slow.commit(regions), rtol=1e-10)
    boxes = torch.tensor([[1, 1, 1, 6, 7, 8], [0, 0, 0, 2, 2, 2]])
    assert torch.allclose(scorer.score(boxes), slow.score(boxes), rtol=1e-8, atol=1e-12)
    assert scorer.score(boxes)[1] == 0


def test_fills_of_the_region_itself_move_too(generator):
    model, scan = (
        randomised(Plain(1, 2)).double().eval(),
        torch.rand(1, 14, 11, 13, generator=generator).double(),
    )
    fill = fill_of("region-mean", scan, model)
    fast, slow = (S(model, scan, 1, score="logit", fill=fill) for S in (IncrementalScorer, FullScorer))
    regions = fast.regions(torch.tensor([[0, 0, 0, 4, 5, 6], [3, 2, 1, 9, 11, 13]]))
    assert torch.allclose(fast.commit(regions), slow.commit(regions), rtol=1e-10)
    assert torch.allclose(fast.volume, slow.volume)
    boxes = torch.tensor([[1, 1, 1, 6, 7, 8]])
    assert torch.allclose(fast.score(boxes), slow.score(boxes), rtol=1e-8)


def test_what_is_interrupted_leaves_the_baseline_where_it_was(generator, monkeypatch):
    model, scan = (
        randomised(Plain(1, 2)).double().eval(),
        torch.rand(1, 14, 11, 13, generator=generator).double(),
    )
    scorer = IncrementalScorer(model, scan, 1, score="logit")
    regions = scorer.regions(torch.tensor([[0, 0, 0, 4, 5, 6], [3, 2, 1, 9, 11, 13]]))

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MovingProgram, "_follow", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scorer.commit(regions)
    assert torch.equal(scorer.volume, scan)
    expected = FullScorer(model, scan, 1, score="logit").commit(regions)
    assert torch.allclose(scorer.commit(regions), expected, rtol=1e-10)


class Halves(torch.nn.Module):
    """Begins with views of the scan's only channel."""

    def __init__(self, convolution=None):
        super().__init__()
        self.convolution = convolution

    def forward(self, x):
        if self.convolution is not None:
            x = self.convolution(x[..., 1:-2])
        left = 40 * x[:, 0, :9].mean((1, 2, 3)) - x[:, 0, 9:].square().mean((1, 2, 3))
        return torch.stack([torch.ones_like(left), left], 1)


@pytest.mark.parametrize("convolution", [None, torch.nn.Conv3d(1, 2, 3)], ids=["views", "cropped"])
@pytest.mark.parametrize("scored", [False, True])
def test_views_of_the_scan_do_not_move_twice_nor_move_the_callers_scan(convolution, scored, generator):
    model = Halves(convolution).double().eval()
    scan = torch.rand(1, 18, 12, 14, generator=generator, dtype=torch.float64)
    given = scan.clone()
    boxes = torch.tensor(
        [[0, 0, 0, 9, 6, 14], [3, 4, 2, 18, 9, 9], [9, 0, 0, 18, 12, 3]], dtype=torch.int32
    )
    fast, slow = (
        kind(model, given, 1, score="logit", signed=True) for kind in (IncrementalScorer, FullScorer)
    )
    if scored:
        fast.score(boxes)
    regions = fast.regions(boxes)
    order = [0, 1, 2]
    assert torch.allclose(walk(fast, regions, scan, order), walk(slow, regions, scan, order), atol=1e-12)
    assert torch.equal(given, scan)
    assert fast.rebase() < 1e-12
