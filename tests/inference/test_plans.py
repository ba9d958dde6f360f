"""Regions of all sizes in one list: each has the plan of its own size, and memory has a bound."""

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from torch import nn

from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.program import Program
from pyadx.inference.incremental.trace import KeptTrace
from pyadx.inference.regions import Regions
from pyadx.inference.score_store import ScoreStore

GRID = (24, 24, 24)


def model(seed=0):
    """Convolutions on large maps, then a head: small windows gain much, a giant one does not."""
    layers = [nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, 6, 3, padding=1), nn.ReLU()]
    head = [nn.MaxPool3d(4), nn.Flatten(), nn.Linear(6 * 6**3, 2)]
    return randomised(nn.Sequential(*layers, *head), seed).eval()


def scan():
    return torch.rand(1, *GRID, generator=torch.Generator().manual_seed(0))


def scorer_of(**options):
    return IncrementalScorer(model(), scan(), 1, score="logit", **options)


def windows(side, step=4):
    low = np.stack(np.meshgrid(*[range(0, n - side + 1, step) for n in GRID], indexing="ij"), -1)
    low = low.reshape(-1, 3)
    return torch.from_numpy(np.concatenate([low, low + side], 1))


GIANT = torch.tensor([[0, 0, 0, 22, 23, 24]])


def batches(monkeypatch):
    """Note how many regions every batch holds, and how large the largest of them is."""
    seen = []
    original = Program.run

    def noted(self, plan, grown, start, stop, *rest):
        seen.append((stop - start, bx.extents(next(iter(grown.values()))[start:stop]).max()))
        return original(self, plan, grown, start, stop, *rest)

    monkeypatch.setattr(Program, "run", noted)
    return seen


def test_one_large_box_does_not_spoil_the_small_ones_that_follow(monkeypatch):
    small = windows(3)
    scorer = scorer_of()
    before = scorer.gain(small.numpy())
    expected = scorer.score(small)
    seen = batches(monkeypatch)
    scorer.score(GIANT)
    assert torch.equal(scorer.score(small), expected)
    assert scorer.gain(small.numpy()) == before > 20
    assert max(count for count, largest in seen if largest <= 3) == len(small)


def test_a_large_box_in_the_same_list_has_batches_of_its_own(monkeypatch):
    together = torch.cat([windows(3), GIANT, windows(6)])
    seen = batches(monkeypatch)
    mixed = scorer_of().score(together)
    assert all(count == 1 for count, largest in seen if largest > 20)
    network, tracer = model(), KeptTrace()
    alone = [
        IncrementalScorer(network, scan(), 1, score="logit", tracer=tracer).score(box[None])
        for box in together[::9]
    ]
    assert torch.equal(mixed[::9], torch.cat(alone))


def test_how_a_region_is_scored_depends_on_its_own_size_only():
    small = windows(3).numpy()
    boxes = np.concatenate([small, GIANT.numpy(), windows(9, 5).numpy()]).astype(np.int32)
    fresh = scorer_of().lowered
    used = scorer_of().lowered
    used.choose(boxes[::-1].copy())
    assert np.array_equal(fresh.choose(small)[0], used.choose(boxes)[0][: len(small)])


@pytest.mark.parametrize("step", [2, 5])
def test_memory_never_exceeds_the_bound_when_a_giant_box_is_among_many_small_ones(step, monkeypatch):
    boxes = torch.cat([windows(3, step), GIANT])  # 1,332 with a step of 2
    free = scorer_of()
    expected = free.score(boxes)
    need = free.program.bytes_per_region(
        free.lowered.plan(int(free.lowered.choose(GIANT.numpy())[0][0])),
        free.lowered.grow(GIANT.numpy().astype(np.int32), free.lowered.steps),
    )
    taken = []
    original = Program.run

    def measured(self, *args):
        found = original(self, *args)
        taken.append(self.cache_bytes + self.workspace.nbytes)
        return found

    monkeypatch.setattr(Program, "run", measured)
    for bound in (free.memory["cache"] + need + 4096, free.memory["cache"] + need // 3):
        taken.clear()
        tight = scorer_of(max_memory=bound)
        assert torch.allclose(tight.score(boxes), expected, rtol=1e-4, atol=1e-7)
        assert taken
        assert max(taken) <= bound


def test_the_estimate_of_a_region_is_what_its_buffers_take():
    """With buffers of exactly the size asked for; the steps are those that take more for a while."""
    layers = [nn.Conv3d(1, 4, 3, padding=1), nn.SiLU(), nn.AvgPool3d(2, 1), nn.Conv3d(4, 4, 1)]
    network = randomised(nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())).eval()
    scorer = IncrementalScorer(network, scan(), 1)
    program = scorer.program
    boxes = np.array([[2, 3, 4, 9, 12, 11], [2, 3, 4, 12, 11, 12]], np.int32)
    plan = scorer.lowered.furthest
    program.cache([plan])
    grown = scorer.lowered.grow(boxes, plan.steps)
    program.workspace.limit_to(2 * program.bytes_per_region(plan, grown))
    program.workspace.exact = True
    program.run(plan, grown, 0, 2)  # would raise


def test_scores_come_back_in_the_order_asked_for_and_a_store_resumes_to_the_same_bytes(
    generator, tmp_path, monkeypatch
):
    from pyadx.inference import scorer as module

    monkeypatch.setattr(module, "CHUNK", 20)
    boxes = torch.cat([windows(3, 6), GIANT, windows(7, 7), windows(2, 9)])
    boxes = boxes[torch.randperm(len(boxes), generator=generator)]
    one = scorer_of()
    regions = one.regions(boxes)
    expected = one.score_regions(regions)
    # The same scorer scores a region alike, whatever is scored before it.
    order = torch.randperm(len(regions.boxes), generator=generator).numpy()
    assert torch.equal(one.score_regions(regions.part(order)), expected[torch.from_numpy(order)])
    path = tmp_path / "scores"
    asked = iter([False, False, True])
    with ScoreStore(path, {}, resume=False) as store:
        scorer_of().score_regions(regions, store, lambda: next(asked))
        assert store.chunks == 2
    with ScoreStore(path, {}, resume=True) as store:
        resumed = scorer_of().score_regions(regions, store)
    assert torch.equal(resumed, expected)


class Failing:
    """A forward that does not fit with more than so many scans, and counts how often it did not."""

    def __init__(self, original, most):
        self.original, self.most, self.failures = original, most, 0

    def __call__(self, batch, *args):
        if len(batch) > self.most:
            self.failures += 1
            raise torch.OutOfMemoryError("no room")
        return self.original(batch, *args)


@pytest.mark.filterwarnings("ignore:out of memory")
def test_full_forwards_remember_what_did_not_fit_in_all_chunks_that_follow(generator, monkeypatch):
    from pyadx.inference import scorer as module

    monkeypatch.setattr(module, "CHUNK", 16)
    volume = torch.rand(1, 9, 9, 9, generator=generator)
    low = torch.randint(0, 7, (80, 3), generator=generator)
    boxes = torch.cat([low, low + 2], 1)
    network = randomised(Plain()).eval()
    expected = FullScorer(network, volume, 1, batch_size=3).score(boxes)
    scorer = FullScorer(network, volume, 1, batch_size=16)
    scorer._forward = failing = Failing(scorer._forward, 5)
    assert torch.allclose(scorer.score(boxes), expected, rtol=1e-5, atol=1e-7)
    assert failing.failures == 2  # 16, 8
    scorer.score(boxes)
    assert failing.failures == 2


@pytest.mark.filterwarnings("ignore:out of memory")
def test_incremental_scoring_remembers_what_did_not_fit(monkeypatch):
    from pyadx.inference import scorer as module

    monkeypatch.setattr(module, "CHUNK", 40)
    original, failures = Program.run, []

    def tight(self, plan, grown, start, stop, *segments):
        if stop - start > 5:
            failures.append(stop - start)
            raise MemoryError
        return original(self, plan, grown, start, stop, *segments)

    expected = scorer_of().score(windows(3))
    monkeypatch.setattr(Program, "run", tight)
    scorer = scorer_of()
    assert torch.equal(scorer.score(windows(3)), expected)
    once = len(failures)
    assert once <= 4  # of 40, 20, 10 in the first of six chunks
    scorer.score(windows(3))
    assert len(failures) == once


def test_sizes_of_boxes_are_grouped_by_what_they_hold():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 9, (200, 3))
    boxes = np.concatenate([low, low + rng.integers(1, 30, (200, 3))], 1).astype(np.int32)
    groups = list(bx.by_size(boxes))
    assert sorted(np.concatenate(groups).tolist()) == list(range(200))
    for members in groups:
        cells = bx.cells(boxes[members])
        assert cells.max() < 4 * cells.min()
    empty = Regions(np.zeros((0, 6), np.int32), np.zeros(0, np.int64))
    assert list(bx.by_size(empty.boxes)) == []
