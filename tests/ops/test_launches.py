"""Launches of the CUDA kernels, run on the host: grids, tails, batches beyond a grid, 64-bit offsets.

Whether the kernels are right for ordinary sizes is tested beside the CPU side in this folder.
"""

import emulated
import pytest
import torch

from pyadx import ops

ROWS = 65535  # of a grid
ITEMS = 8  # batch items that a thread of the masking kernel writes
THREADS = 256


@pytest.fixture
def device(request, monkeypatch):
    emulated.library()
    monkeypatch.setattr(torch.ops, "pyadx", torch.ops.pyadx_emulated)
    yield torch.device("cpu")
    emulated.only_blocks()


def started():
    count = emulated.library().emulation_blocks_started
    count.restype = emulated.ctypes.c_uint64
    return count()


@pytest.mark.parametrize("voxels", [1, 4, THREADS * 4 - 1, THREADS * 4, THREADS * 4 + 1])
@pytest.mark.parametrize("batch", [1, ITEMS - 1, ITEMS, ITEMS + 1])
def test_every_element_is_written_once_whatever_the_tail(voxels, batch, device, poisoned_memory):
    volume = torch.rand(1, 1, 1, voxels)
    boxes = torch.tensor([[0, 0, i % voxels, 1, 1, i % voxels + 1] for i in range(batch)])
    expected = volume.expand(batch, 1, 1, 1, voxels).clone()
    expected[torch.arange(batch), 0, 0, 0, torch.arange(batch) % voxels] = 9.0
    assert torch.equal(ops.occlude_boxes(volume, boxes, 9.0), expected)


def test_a_batch_larger_than_the_rows_of_a_grid(device):
    batch = ROWS * ITEMS + 5
    volume = torch.rand(1, 1, 1, 2)
    boxes = torch.zeros(batch, 6, dtype=torch.int64)
    boxes[:, 3:] = torch.tensor([1, 1, 1])
    boxes[-3:, 5] = 2  # the last ones fill both voxels
    before = started()
    out = ops.occlude_boxes(volume, boxes, 9.0)
    assert started() - before == ROWS
    assert torch.equal(out[:-3, 0, 0, 0], torch.tensor([9.0, volume[0, 0, 0, 1]]).expand(batch - 3, 2))
    assert (out[-3:] == 9.0).all()


def test_maps_of_more_scans_than_rows_of_a_grid(device):
    batch = ROWS + 3
    features = torch.rand(batch, 2, 1, 1, 4)
    weights = torch.rand(batch, 2)
    out = ops.weighted_cam(features, weights, (1, 1, 4), "none")
    expected = torch.einsum("bkdhw,bk->bdhw", features, weights)
    assert torch.allclose(out, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("split", "channels", "depth", "rows"),
    [("1", 128, 45, 32), ("1", 9, 45, 2), ("1", 7, 45, 1), ("1", 128, 9, 7), ("0", 128, 45, 1)],
)
def test_channels_of_a_small_map_are_shared_among_rows_of_blocks(
    split, channels, depth, rows, device, monkeypatch
):
    """A map of 14^3 fills three columns; rows have four channels or more, and room for their sums."""
    monkeypatch.setenv("PYADX_CAM_SPLIT", split)
    columns, size = -(-(14**3) // 4 // THREADS), (depth, 46, 47)
    features, weights = torch.rand(1, channels, 14, 14, 14), torch.rand(1, channels)
    before = started()
    ops.weighted_cam(features, weights, size)
    upsampling = -(-46 * 47 // THREADS) * depth
    adding = -(-(14**3) // THREADS) if rows > 1 else 0
    assert started() - before == rows * columns + adding + upsampling


def test_a_map_that_fills_the_gpu_keeps_its_channels_together(device):
    """55^3 cells are no multiple of four, so that a thread owns one."""
    features, weights = torch.rand(1, 8, 55, 55, 55), torch.rand(1, 8)
    before = started()
    ops.weighted_cam(features, weights, (110, 1, 110))
    assert started() - before == -(-(55**3) // THREADS) + 110


@pytest.mark.parametrize("kind", ["boxes", "labels"])
def test_the_far_end_of_a_batch_of_more_than_2_to_the_31_elements(kind, device):
    """Only the last row of blocks runs, and only its pages of the 4.5 GB come into being."""
    shape, batch = (1, 110, 110, 110), 1700
    voxels = 110**3
    assert batch * voxels > 2**31
    volume = torch.rand(shape).half()
    out = torch.empty(batch, *shape, dtype=torch.float16)
    rows = -(-batch // ITEMS)
    columns = -(-voxels // 8 // THREADS)
    emulated.only_blocks(x=(columns - 3, columns - 1), y=(rows - 1, rows - 1))
    if kind == "boxes":
        boxes = torch.tensor([[109, 0, 0, 110, 110, 50]]).repeat(batch, 1)
        ops.occlude_boxes(volume, boxes, 2.0, out=out)
        filled = torch.zeros(shape[1:], dtype=torch.bool)
        filled[109, :, :50] = True
    else:
        labels = torch.arange(voxels, dtype=torch.int32).reshape(shape[1:])
        intervals = torch.tensor([[voxels - 100, voxels]]).repeat(batch, 1)
        ops.occlude_labels(volume, labels, intervals, 2.0, out=out)
        filled = labels >= voxels - 100
    expected = torch.where(filled, torch.tensor(2.0).half(), volume[0]).flatten()
    ran = 2 * THREADS * 8  # elements of two whole blocks; the last one may have a tail
    assert torch.equal(out[-1].flatten()[-ran:], expected[-ran:])
    assert torch.equal(out[-(batch - ITEMS * (rows - 1))].flatten()[-ran:], expected[-ran:])


def test_the_far_end_of_patches_of_more_than_2_to_the_31_elements(device):
    channels, cells, batch = 64, 32, 1100
    elements = batch * cells**3 * channels
    assert elements > 2**31
    frames = torch.tensor([[0, 0, 0, cells, cells, cells]], dtype=torch.int32).repeat(batch, 1)
    source = torch.rand(cells, cells, cells, channels)
    out = torch.empty(batch, cells, cells, cells, channels)
    packs = cells**2 * channels // 4  # of a plane; a thread owns one
    columns = -(-packs // THREADS)
    emulated.only_blocks(x=(columns - 1, columns - 1), y=(cells - 1, cells - 1))
    ops.patches.gather(frames, out, source=source)
    begin = cells**3 * channels - THREADS * 4
    assert torch.equal(out[-1].flatten()[begin:], source.flatten()[begin:])


@pytest.mark.parametrize("channels", [3, 8])
def test_more_patches_and_planes_than_a_grid_has_rows(channels, device):
    batch, planes = ROWS + 3, ROWS + 2
    frames = torch.tensor([[0, 0, 0, 1, 1, 1]], dtype=torch.int32).repeat(batch, 1)
    source = torch.rand(1, 1, 1, channels)
    out = torch.empty(batch, 1, 1, 1, channels)
    before = started()
    ops.patches.gather(frames, out, source=source)
    assert started() - before == ROWS
    assert torch.equal(out, source.expand_as(out))
    long = torch.rand(planes, 1, 2, channels)
    frame = torch.tensor([[0, 0, 0, planes, 1, 2]], dtype=torch.int32)
    out = torch.empty(1, planes, 1, 2, channels)
    ops.patches.gather(frame, out, source=long)
    assert torch.equal(out[0], long)
