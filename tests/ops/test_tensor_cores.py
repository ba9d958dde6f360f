"""The patch convolution on CUDA: digits of split products, memory accesses, and what it refuses."""

import ctypes

import emulated
import numpy as np
import pytest
import torch
from patch_inputs import convolve, new_out
from reference import patches as reference

from pyadx.ops import patches

ONE = (1, 1, 1)
CUBE = torch.tensor([[0, 0, 0, 6, 6, 6]], dtype=torch.int32)


def layer_of(channels, outputs, generator):
    changes = torch.randn(1, 6, 6, 6, channels, generator=generator)
    weight = torch.randn(outputs, channels, 3, 3, 3, generator=generator)
    return changes, weight / (27 * channels) ** 0.5


def bytes_moved():
    """Bytes of the sectors that logged reads of global memory touched, and bytes they asked for."""
    counts = emulated.library()
    for name in ("emulation_bytes_moved", "emulation_bytes_asked"):
        getattr(counts, name).restype = ctypes.c_uint64
    return np.array([counts.emulation_bytes_moved(), counts.emulation_bytes_asked()], np.int64)


@pytest.mark.parametrize("channels", [8, 64])
def test_three_products_keep_the_digits_of_float32(channels, generator):
    """Products of 11 bits alone would leave an error of some 1e-4."""
    changes, weight = layer_of(channels, 32, generator)
    given = (CUBE, weight.double(), ONE, ONE, ONE, 1, (6, 6, 6), CUBE, (6, 6, 6), None)
    exact = reference.conv(changes.double(), *given)
    errors = {}
    for how in ("emulated", "direct"):
        out = new_out("cpu", torch.float32, 1, (6, 6, 6), 32)
        convolve(how, changes, CUBE, weight, ONE, ONE, ONE, 1, CUBE, None, out)
        errors[how] = ((out - exact).abs().max() / exact.abs().max()).item()
    assert errors["emulated"] < 6e-7
    assert errors["emulated"] < 4 * errors["direct"]


@pytest.mark.parametrize("channels", [32, 64])
def test_reads_of_a_warp_lie_side_by_side(channels, generator):
    changes, weight = layer_of(channels, 64, generator)
    before = bytes_moved()
    convolve(
        "emulated",
        changes,
        CUBE,
        weight,
        ONE,
        ONE,
        ONE,
        1,
        CUBE,
        None,
        new_out("cpu", torch.float32, 1, (6, 6, 6), 64),
    )
    moved, asked = bytes_moved() - before
    assert asked > 0
    assert moved == asked


def test_work_lists_every_tile_of_every_box():
    boxes = np.array(
        [[0, 0, 0, 4, 4, 4], [5, 5, 5, 5, 9, 9], [0, 0, 0, 5, 5, 6], [1, 1, 1, 2, 2, 2]], np.int32
    )
    work = patches.conv_work(boxes)
    assert work.dtype == np.int32
    assert work.tolist() == [[0, 0], [2, 0], [2, 1], [2, 2], [3, 0]]
    assert patches.conv_work(boxes[:0]).shape == (0, 2)


def test_blocks_of_output_channels_hold_all_of_them_and_zeros(generator):
    for outputs, groups, lanes in ((5, 1, 8), (12, 1, 16), (17, 1, 32), (70, 1, 64), (12, 3, 8)):
        weight = torch.randn(outputs, 2, 3, 1, 2, generator=generator)
        packed = patches.pack_cuda_weight(weight, groups)
        assert packed.shape == (groups, -(-outputs // groups // lanes), 3, 1, 2, 2, lanes)
        flat = packed.permute(0, 1, 6, 5, 2, 3, 4).reshape(groups, -1, 2, 3, 1, 2)
        assert torch.equal(flat[:, : outputs // groups].reshape(weight.shape), weight)
        assert not flat[:, outputs // groups :].any()


@pytest.fixture
def given(monkeypatch):
    emulated.library()
    monkeypatch.setattr(torch.ops, "pyadx", torch.ops.pyadx_emulated)
    return {
        "patches": torch.zeros(1, 6, 6, 6, 4), "boxes": CUBE,
        "weight": patches.pack_cuda_weight(torch.zeros(5, 4, 3, 3, 3)),
        "stride": ONE, "padding": ONE, "dilation": ONE, "out_boxes": CUBE, "before": None,
        "out": torch.zeros(1, 6, 6, 6, 5), "work": torch.from_numpy(patches.conv_work(CUBE.numpy())),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"work": None}, "work must be given"),
        ({"work": torch.zeros(1, 2, dtype=torch.int64)}, "int32"),
        ({"work": torch.zeros(2, dtype=torch.int32)}, "int32"),
        ({"weight": torch.zeros(1, 1, 3, 3, 3, 4, 4)}, "packed"),
        ({"weight": torch.zeros(1, 1, 3, 3, 3, 5, 8)}, "input channels"),
        ({"weight": torch.zeros(1, 2, 3, 3, 3, 4, 8)}, "output channels"),
        (
            {"transformed": torch.zeros(64, 1, 4, 8), "tiled": torch.ones(1, dtype=torch.uint8)},
            "for the CPU",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, words, given):
    patches.conv(**given)
    with pytest.raises(RuntimeError, match=words):
        patches.conv(**given | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"work": torch.tensor([[1, 0]], dtype=torch.int32)}, "beyond the batch"),
        ({"work": torch.tensor([[0, 4]], dtype=torch.int32)}, "beyond its patch"),
        ({"boxes": 2 * CUBE}, "larger than the patch"),
        ({"out_boxes": 2 * CUBE}, "larger than the patch"),
        ({"before": torch.zeros(5, 5, 5, 5)}, "beyond its map"),
    ],
)
def test_boxes_and_work_are_checked_when_asked(change, words, given, monkeypatch):
    monkeypatch.setenv("PYADX_DEBUG_BOXES", "1")
    patches.conv(**given)
    with pytest.raises(RuntimeError, match=words):
        patches.conv(**given | change)


def test_the_cpu_takes_no_work(generator):
    out = torch.zeros(1, 6, 6, 6, 5)
    packed = patches.pack_weight(torch.zeros(5, 4, 3, 3, 3))
    work = torch.zeros(1, 2, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="for CUDA"):
        patches.conv(torch.zeros(1, 6, 6, 6, 4), CUBE, packed, ONE, ONE, ONE, CUBE, None, out, work=work)
