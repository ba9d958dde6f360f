"""Canonical slots: few shapes, the same scores. And chunks that are launched ahead, in order."""

import numpy as np
import pytest
import torch
from networks import Gap, Plain, lively, randomised
from torch import nn
from torch.nn import functional as F

from pyadx.inference import IncrementalScorer
from pyadx.inference.chunks import in_chunks
from pyadx.inference.incremental import cost
from pyadx.inference.incremental import scorer as scorer_module
from pyadx.inference.incremental.options import wants_canonical_slots
from pyadx.inference.incremental.program import Program
from pyadx.inference.regions import Regions
from pyadx.inference.segments import distinct_segments

GRID = (22, 24, 23)
OPTIONS = [{}, {"batch_size": 3}, {"batch_size": 1}, {"max_memory": 4 << 20}]


class Normed(nn.Module):
    """Whole maps behind boxes, divided by their spread."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(F.relu(self.norm(self.conv(x))).mean((2, 3, 4)))


def boxes_of_all_sizes(count):
    generator = np.random.default_rng(0)
    low = np.stack([generator.integers(-2, n, count) for n in GRID], 1)
    boxes = np.concatenate([low, low + generator.integers(1, 12, (count, 3))], 1)
    boxes[:3] = [[0, 0, 0, *GRID], [5, 5, 5, 6, 6, 6], [*GRID, 30, 30, 30]]
    return torch.from_numpy(boxes)


def scores(monkeypatch, slots, model, scan, regions, **options):
    monkeypatch.setenv("PYADX_SLOTS", slots)
    return IncrementalScorer(model, scan, 1, signed=True, **options).score(regions)


@pytest.mark.parametrize("network", [Plain, Gap, Normed])
@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 3}, {"batch_size": 1}, {"max_memory": 4 << 20}], ids=str
)
def test_scores_are_those_of_exact_slots(network, options, monkeypatch):
    scan = torch.rand(1, *GRID, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = lively(network().double(), scan[None].repeat(2, 1, 1, 1, 1))
    boxes = boxes_of_all_sizes(60)
    exact = scores(monkeypatch, "exact", model, scan, boxes, **options)
    found = scores(monkeypatch, "canonical", model, scan, boxes, **options)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)
    assert exact.abs().max() > 1e-6


def test_filled_up_rows_belong_to_no_segment(monkeypatch):
    scan = torch.rand(1, *GRID, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = randomised(Plain()).double()
    labels = torch.arange(GRID[0] * GRID[1] * GRID[2]).reshape(GRID).int() // 97
    intervals = np.array([[n, n + 3] for n in range(0, 110, 5)], np.int32)
    found = {}
    for slots in ("exact", "canonical"):
        monkeypatch.setenv("PYADX_SLOTS", slots)
        scorer = IncrementalScorer(model, scan, 1)
        found[slots] = scorer.score_regions(distinct_segments(scan, labels, intervals, scorer.fill))
    torch.testing.assert_close(found["canonical"], found["exact"], rtol=0, atol=1e-12)


def shapes_of(monkeypatch, slots, model, scan, boxes):
    """Return the distinct shapes of a scan's batches, in every layer."""
    seen, original = {}, Program._batch

    def noted(self, *given, **named):
        batch = original(self, *given, **named)
        for node, slot in batch.slots.items():
            seen.setdefault(node.name, set()).add((batch.size, slot))
        return batch

    with monkeypatch.context() as patch:
        patch.setattr(Program, "_batch", noted)
        scores(patch, slots, model, scan, boxes, batch_size=16)
    return seen


def test_layers_meet_few_shapes(monkeypatch):
    scan = torch.rand(1, *GRID, generator=torch.Generator().manual_seed(0))
    model, boxes = randomised(Plain()), boxes_of_all_sizes(600)
    exact = shapes_of(monkeypatch, "exact", model, scan, boxes)
    canonical = shapes_of(monkeypatch, "canonical", model, scan, boxes)
    assert exact.keys() == canonical.keys()
    assert sum(map(len, canonical.values())) < sum(map(len, exact.values()))


@pytest.mark.parametrize(("device", "asked", "expected"), [
    ("cpu", "", False), ("cuda", "", True), ("cuda", "auto", True), ("cuda", "exact", False),
    ("cpu", "canonical", True),
])  # fmt: skip
def test_only_cuda_has_canonical_slots_unless_asked(device, asked, expected, monkeypatch):
    monkeypatch.setenv("PYADX_SLOTS", asked)
    assert wants_canonical_slots(device) is expected


def test_an_unknown_kind_of_slots_is_refused(monkeypatch):
    monkeypatch.setenv("PYADX_SLOTS", "large")
    with pytest.raises(ValueError, match="PYADX_SLOTS must be one of auto, exact, canonical, got 'large'"):
        wants_canonical_slots("cpu")


def calls(ahead, chunks=4, broken=None):
    """Return what happens while chunks are scored, in order."""
    seen = []

    def launch(regions, tell):
        place = int(regions.boxes[0, 0])
        seen.append(f"launch {place}")
        if place == broken:
            raise KeyboardInterrupt
        return lambda: (seen.append(f"wait {place}"), torch.tensor([float(place)]))[1]

    boxes = np.arange(chunks, dtype=np.int32)[:, None].repeat(6, 1)
    given = Regions(boxes, np.arange(chunks))
    out = torch.full((chunks,), torch.nan)
    try:
        in_chunks(given, out, launch, 1, ahead=ahead)
    except KeyboardInterrupt:
        seen.append("end")
    return seen, out


def test_the_next_chunk_is_launched_before_the_last_is_waited_for():
    seen, out = calls(1, chunks=3)
    assert seen == ["launch 0", "launch 1", "wait 0", "launch 2", "wait 1", "wait 2"]
    assert out.tolist() == [0, 1, 2]
    assert calls(0, chunks=2)[0] == ["launch 0", "wait 0", "launch 1", "wait 1"]


def test_what_is_under_way_is_waited_for_when_a_run_is_interrupted():
    seen, out = calls(1, broken=2)
    assert seen == ["launch 0", "launch 1", "wait 0", "launch 2", "wait 1", "end"]
    assert out[:2].tolist() == [0, 1]
    assert out[2:].isnan().all()


def test_scores_of_chunks_launched_ahead_are_the_same(monkeypatch):
    scan = torch.rand(1, *GRID, generator=torch.Generator().manual_seed(0))
    model, boxes = randomised(Plain()), boxes_of_all_sizes(40)
    monkeypatch.setattr("pyadx.inference.scorer.CHUNK", 7)
    expected = scores(monkeypatch, "exact", model, scan, boxes)
    monkeypatch.setattr(scorer_module, "_AHEAD", {"cpu": 1})
    assert torch.equal(scores(monkeypatch, "exact", model, scan, boxes), expected)


def test_rates_are_those_of_the_device(monkeypatch):
    """Today a GPU's are a CPU's; a device whose steps cost more stops sooner."""
    assert cost.RATES["cuda"] == cost.RATES["cpu"]
    scan = torch.rand(1, *GRID, generator=torch.Generator().manual_seed(0))
    boxes = np.array([[5, 5, 5, 8, 8, 8]], np.int32)
    model = randomised(Plain())
    before = IncrementalScorer(model, scan, 1).gain(boxes)
    monkeypatch.setitem(cost.RATES, "cpu", cost.RATES["cpu"]._replace(step=1.0))
    assert IncrementalScorer(model, scan, 1).gain(boxes) < before
