"""Is batched occlusion masking faster than cloning and indexing in PyTorch?

Floor: B*C*D*H*W elements written; the volume itself is small enough to be read from cache. "fresh" makes
a new batch each time, "reused" writes into the same buffer, where a plain copy is the floor.
"""

from functools import partial

import pytest
import torch

from pyadx import ops

SHAPES = {"64^3": (64, 64, 64), "110^3": (110, 110, 110), "182x218x182": (182, 218, 182)}
CASES = [("64^3", 1), ("64^3", 16), ("110^3", 1), ("110^3", 8), ("110^3", 32), ("182x218x182", 4)]
IDS = [f"{shape}-B{batch}" for shape, batch in CASES]
WINDOW = 7


def per_round(out):
    """Return how many calls make one round: a single call of microseconds is too short to time."""
    return {"calls": max(1, 2**24 // out.nbytes), "bytes_written": out.nbytes}


def bound(spellings, *arguments):
    """Bind all ways to compute one result to the same arguments."""
    return {name: partial(spelling, *arguments) for name, spelling in spellings.items()}


def box_case(shape, batch, device):
    volume = torch.rand(1, *SHAPES[shape], device=device)
    centres = torch.stack([torch.randint(0, n, (batch,)) for n in SHAPES[shape]], 1)
    boxes = torch.cat([centres - WINDOW // 2, centres + WINDOW // 2 + 1], 1)
    return volume, boxes.to(device)


def fill_boxes(copies, boxes):
    for copy, box in zip(copies, boxes.tolist(), strict=True):
        z0, y0, x0, z1, y1, x1 = (max(0, edge) for edge in box)
        copy[:, z0:z1, y0:y1, x0:x1] = 0.0
    return copies


BOX_FRESH = {
    "pyadx": lambda v, boxes: ops.occlude_boxes(v, boxes, 0.0),
    "expand + clone + index": lambda v, boxes: fill_boxes(v.expand(len(boxes), *v.shape).clone(), boxes),
    "repeat + index": lambda v, boxes: fill_boxes(v.repeat(len(boxes), 1, 1, 1, 1), boxes),
}
BOX_REUSED = {
    "pyadx": lambda v, boxes, out: ops.occlude_boxes(v, boxes, 0.0, out=out),
    "copy_ + index": lambda v, boxes, out: fill_boxes(out.copy_(v.expand_as(out)), boxes),
    "floor: copy_": lambda v, boxes, out: out.copy_(v.expand_as(out)),
}


@pytest.mark.parametrize("name", BOX_FRESH)
@pytest.mark.parametrize(("shape", "batch"), CASES, ids=IDS)
def test_boxes_fresh(shape, batch, name, device, timed):
    volume, boxes = box_case(shape, batch, device)
    calls = bound(BOX_FRESH, volume, boxes)
    expected = calls["expand + clone + index"]()
    group = f"occlude_boxes {shape}, batch {batch}, fresh"
    out = timed(group, name, calls[name], peers=calls.values(), **per_round(expected))
    assert torch.equal(out, expected)


@pytest.mark.parametrize("name", BOX_REUSED)
@pytest.mark.parametrize(("shape", "batch"), CASES, ids=IDS)
def test_boxes_reused(shape, batch, name, device, timed):
    volume, boxes = box_case(shape, batch, device)
    out = volume.new_empty(batch, *volume.shape)
    calls = bound(BOX_REUSED, volume, boxes, out)
    group = f"occlude_boxes {shape}, batch {batch}, reused"
    timed(group, name, calls[name], peers=calls.values(), **per_round(out))
    if "floor" not in name:
        assert torch.equal(out, BOX_FRESH["repeat + index"](volume, boxes))


def inside(labels, intervals):
    lo, hi = (intervals[:, i, None, None, None] for i in (0, 1))
    return ((labels >= lo) & (labels < hi))[:, None]


LABELS = {
    "pyadx": lambda v, labels, intervals: ops.occlude_labels(v, labels, intervals, 0.0),
    "torch.where": lambda v, labels, intervals: torch.where(
        inside(labels, intervals), torch.zeros((), device=v.device), v
    ),
    "masked_fill": lambda v, labels, intervals: v[None].masked_fill(inside(labels, intervals), 0.0),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize(("shape", "batch"), CASES, ids=IDS)
def test_labels_fresh(shape, batch, name, device, timed):
    volume, _ = box_case(shape, batch, device)
    labels = torch.randint(0, 1000, SHAPES[shape], dtype=torch.int32, device=device)
    first = torch.randint(0, 900, (batch,), device=device)
    intervals = torch.stack([first, first + 100], 1)
    calls = bound(LABELS, volume, labels, intervals)
    group = f"occlude_labels {shape}, batch {batch}, fresh"
    expected = calls["torch.where"]()
    out = timed(group, name, calls[name], peers=calls.values(), **per_round(expected))
    assert torch.equal(out, expected)
