"""Decisive regions: found as a greedy search by full forwards finds them, and none can be left out."""

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from torch import nn

import pyadx

SHAPE = (12, 9, 11)
LABELS = (2, 3, 5, 8, 13, 21, 34, 55)


class Parts(nn.Module):
    """Eight blocks of the scan speak for or against class 1, some of them in pairs."""

    def __init__(self, weights, pairs=()):
        super().__init__()
        self.weights, self.pairs = weights, pairs

    def forward(self, x):
        parts = x.mean(1).unfold(1, 6, 6).unfold(2, 4, 4).unfold(3, 5, 5).mean((-1, -2, -3)).flatten(1)
        score = (parts * torch.tensor(self.weights, dtype=x.dtype)).sum(1)
        for i, j in self.pairs:
            score = score + torch.maximum(parts[:, i], parts[:, j])
        return torch.stack([torch.zeros_like(score), score], 1)


def blocks():
    found = np.zeros((12, 8, 10), np.int32)
    for place, label in enumerate(LABELS):
        z, y, x = np.unravel_index(place, (2, 2, 2))
        found[6 * z : 6 * z + 6, 4 * y : 4 * y + 4, 5 * x : 5 * x + 5] = label
    return found


def predicted(model, volume):
    with torch.no_grad():
        return int(model(volume[None]).argmax())


def score(model, volume, target):
    with torch.no_grad():
        odds = torch.log_softmax(model(volume[None]), 1).exp()[0, target]
        return float(odds.log() - (1 - odds).log())


def slow(model, scan, labels, target, fill, keep):
    """The same greedy search and pruning, by full forwards."""
    every = [int(n) for n in np.unique(labels) if n > 0]

    def with_taken(taken):
        there = taken if keep else [n for n in every if n not in taken]
        volume = scan.clone()
        for n in every:
            if n not in there:
                volume[:, labels == n] = fill
        return volume

    def decided(taken):
        return (predicted(model, with_taken(taken)) == target) == keep

    taken, sign = [], 1 if keep else -1
    while not decided(taken) and len(taken) < len(every):
        now = score(model, with_taken(taken), target)
        left = [n for n in every if n not in taken]
        moved = [sign * (score(model, with_taken([*taken, n]), target) - now) for n in left]
        if not max(moved) > 0:
            break
        taken.append(left[int(np.argmax(moved))])
    if decided(taken):
        for n in taken[::-1]:
            if decided([m for m in taken if m != n]):
                taken.remove(n)
    return taken, decided(taken), score(model, with_taken(taken), target)


@pytest.mark.parametrize("engine", ["incremental", "full"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_search_is_that_of_full_forwards(seed, keep, engine, generator):
    torch.manual_seed(seed)
    model = randomised(Plain(1, 3)).double().eval()
    scan = torch.rand(1, *SHAPE, generator=generator, dtype=torch.float64) + 0.1
    labels = np.random.default_rng(seed).integers(0, 7, SHAPE) * 3
    target = predicted(model, scan)
    report = pyadx.decisive_regions(model, scan, target, labels, keep=keep, fill=0.3, engine=engine)
    taken, decided, end = slow(model, scan, labels, target, 0.3, keep)
    assert (list(report.labels), report.decided) == (taken, decided)
    assert report.decided_score == pytest.approx(end, rel=1e-9)
    moved = report.decided_score - report.score if not keep else None
    if moved is not None:
        assert -report.changes.sum() == pytest.approx(moved, rel=1e-9, abs=1e-12)


def test_strong_regions_come_first_and_the_map_shows_them():
    model = Parts([4.0, 3.0, 2.0, 0.5, -1.0, -1.0, 0.1, 0.2])
    scan = torch.ones(1, 12, 8, 10)
    found = pyadx.RegionFlip(model, fill=0.0).run(scan, 1, blocks(), names={2: "first", 3: "second"})
    (report,) = found.reports
    # 7.8 in all: the two strongest do not do, three do.
    assert report.labels == (2, 3, 5)
    assert report.names == ("first", "second", "5")
    assert report.decided
    assert np.allclose(report.changes, [4, 3, 2], atol=1e-5)
    assert np.allclose(found.heatmap[0][blocks() == 5], 2, atol=1e-5)
    assert not found.heatmap[0][~np.isin(blocks(), (2, 3, 5))].any()
    assert "without 3 regions (first, second, 5) the class changes" in report.summary()
    kept = pyadx.decisive_regions(model, scan, 1, blocks(), keep=True, fill=0.0)
    assert kept.labels == (2,)  # it alone holds the class
    assert "1 region (2) alone hold the class" in kept.summary()


def test_what_was_taken_in_vain_is_dropped_again():
    # The pair is redundant: either alone keeps the score up, so each moves nothing by itself.
    model = Parts([0.6, 0, 0, 0, 0, 0, 0, -1.0], pairs=[(1, 2)])
    scan = torch.ones(1, 12, 8, 10)
    report = pyadx.decisive_regions(model, scan, 1, blocks(), fill=0.0)
    assert report.decided
    for label in report.labels:
        others = [n for n in report.labels if n != label]
        volume = scan.clone()
        volume[:, np.isin(blocks(), others)] = 0
        assert predicted(model, volume) == 1
    assert report.pruned >= 0


def test_where_nothing_decides_that_is_said():
    model = Parts([1.0] * 8)
    scan = torch.ones(1, 12, 8, 10)

    class Sure(nn.Module):
        def forward(self, x):
            return model(x) + torch.tensor([0.0, 5.0])

    report = pyadx.decisive_regions(Sure(), scan, 1, blocks(), fill=0.0)
    assert not report.decided
    assert len(report.labels) == 8
    assert "even without 8 regions" in report.summary()
    assert len(pyadx.decisive_regions(Sure(), scan, 1, blocks(), fill=0.0, most=2).labels) == 2
    already = pyadx.decisive_regions(Sure(), scan, 0, blocks(), fill=0.0)
    assert (already.labels, already.decided) == ((), True)
    assert "does not predict this class" in already.summary()


def test_bad_input_is_told(generator):
    model = randomised(Plain(1, 3)).eval()
    scan = torch.rand(1, *SHAPE, generator=generator)
    labels = np.ones(SHAPE, np.int32)
    with pytest.raises(ValueError, match="at least two regions, got 1"):
        pyadx.decisive_regions(model, scan, 1, labels, fill=0.0)
    with pytest.raises(ValueError, match="kind must be one of remove, keep"):
        pyadx.RegionFlip(model, kind="both")
    with pytest.raises(ValueError, match="most must be a whole number from 1"):
        pyadx.RegionFlip(model, most=0)
    labels[:3] = 2
    with pytest.raises(ValueError, match="need classes; a network that predicts numbers has none"):
        pyadx.decisive_regions(model, scan, 1, labels, fill=0.0, score="output")
    with pytest.raises(ValueError, match="takes one scan, got 2"):
        pyadx.decisive_regions(model, scan[None].expand(2, -1, -1, -1, -1), 1, labels, fill=0.0)
