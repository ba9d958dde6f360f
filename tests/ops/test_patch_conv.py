"""The patch convolution: every algorithm passes the same tests, on the CPU and on CUDA."""

import pytest
import torch
from patch_inputs import (
    ALGORITHMS,
    CHOSEN_BY_PATCH,
    CONVOLUTIONS,
    SHARES,
    SIZE,
    assert_close,
    convolve,
    new_out,
    random_boxes,
    random_patches,
    scattered,
    transformed_to,
)
from reference import patches as reference

from pyadx.inference.incremental import boxes as bx
from pyadx.ops import patches
from pyadx.ops.toom_cook import transformed_weight

ONE = (1, 1, 1)

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def dtype(request):
    return request.param


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@SHARES
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_conv_moves_as_whole_maps_do(layer, rectified, share, algorithm, dtype, generator):
    channels, outputs, kernel, stride, padding, dilation, groups = layer
    size = (12, 10, 14)
    boxes = random_boxes(generator, 9, size)
    changes = scattered(random_patches(generator, boxes, channels, dtype, size), share, generator)
    weight = torch.randn(outputs, channels // groups, *kernel, generator=generator, dtype=dtype)
    weight /= weight[0].numel() ** 0.5
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    sizes = zip(size, padding, reach, stride, strict=True)
    out_size = tuple((n + 2 * p - r - 1) // s + 1 for n, p, r, s in sizes)
    window = bx.Window(kernel, stride, padding, dilation)
    before = torch.randn(*out_size, outputs, generator=generator, dtype=dtype) if rectified else None
    out_boxes = bx.through_window(boxes.numpy(), window, out_size)
    slot = [n + 1 for n in bx.largest(out_boxes)]
    out_boxes = torch.from_numpy(out_boxes)
    expected = reference.conv(
        changes, boxes, weight, stride, padding, dilation, groups, size, out_boxes, slot, before
    )
    out = new_out("cpu", dtype, 9, slot, outputs)
    convolve(algorithm, changes, boxes, weight, stride, padding, dilation, groups, out_boxes, before, out)
    assert_close(out, expected, dtype)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("share", [0.5, 0.02, 0.0], ids="{:.0%} of the channels change".format)
@pytest.mark.parametrize("channels", [15, 16, 64, 130])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_leaves_out_channels_that_do_not_change_along_a_row(
    stride, channels, share, algorithm, dtype, generator
):
    boxes = random_boxes(generator, 6)
    changes = random_patches(generator, boxes, channels, dtype)
    rows = changes.shape[:3]
    changes *= torch.rand(*rows, 1, channels, generator=generator) < share
    weight = torch.randn(9, channels, 3, 3, 3, generator=generator, dtype=dtype) / (27 * channels) ** 0.5
    one, strides = (1, 1, 1), (stride,) * 3
    out_size = tuple((n - 1) // stride + 1 for n in SIZE)
    out_boxes = bx.through_window(boxes.numpy(), bx.Window((3, 3, 3), strides, one, one), out_size)
    slot, out_boxes = bx.largest(out_boxes), torch.from_numpy(out_boxes)
    expected = reference.conv(changes, boxes, weight, strides, one, one, 1, SIZE, out_boxes, slot, None)
    out = new_out("cpu", dtype, 6, slot, 9)
    convolve(algorithm, changes, boxes, weight, strides, one, one, 1, out_boxes, None, out)
    assert_close(out, expected, dtype)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_conv_does_not_skip_nan_beside_cells_that_do_not_change(algorithm, generator):
    boxes = torch.tensor([[2, 2, 2, 6, 6, 6]], dtype=torch.int32)
    changes = torch.zeros(1, 4, 4, 4, 3)
    changes[0, 1, 2, 3, 1] = torch.nan
    weight = torch.randn(4, 3, 3, 3, 3, generator=generator)
    out_boxes = torch.tensor([[1, 1, 1, 7, 7, 7]], dtype=torch.int32)
    one = (1, 1, 1)
    out = new_out("cpu", torch.float32, 1, (6, 6, 6), 4)
    convolve(algorithm, changes, boxes, weight, one, one, one, 1, out_boxes, None, out)
    assert out[0, 1:4, 2:5, 3:6].isnan().all()
    assert int(out.isnan().sum()) == 27 * 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_conv_writes_zeros_where_outputs_beyond_the_grown_box_are_asked_for(algorithm, dtype, generator):
    boxes = torch.tensor([[4, 4, 4, 6, 6, 6]], dtype=torch.int32)
    changes = random_patches(generator, boxes, 3, dtype)
    weight = torch.randn(4, 3, 3, 3, 3, generator=generator, dtype=dtype) / 9
    everything = torch.tensor([[0, 0, 0, *SIZE]], dtype=torch.int32)
    one = (1, 1, 1)
    args = (changes, boxes, weight, one, one, one, 1, SIZE, everything, SIZE, None)
    expected = reference.conv(*args)
    out = new_out("cpu", dtype, 1, SIZE, 4)
    convolve(algorithm, changes, boxes, weight, one, one, one, 1, everything, None, out)
    assert_close(out, expected, dtype)
    assert (out == 0).any()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_conv_sums_each_patch_alike_in_any_batch_and_with_any_threads(algorithm, threads, generator):
    boxes = random_boxes(generator, 9)
    changes = random_patches(generator, boxes, 20, torch.float32)
    weight = torch.randn(24, 20, 3, 3, 3, generator=generator)
    out_boxes = torch.from_numpy(
        bx.through_window(boxes.numpy(), bx.Window((3, 3, 3), ONE, ONE, ONE), SIZE)
    )
    slot = bx.largest(out_boxes.numpy())

    def conv(order):
        out = new_out("cpu", torch.float32, len(order), slot, 24)
        given = (changes[order].contiguous(), boxes[order].contiguous())
        wanted = out_boxes[order].contiguous()
        return convolve(algorithm, *given, weight, ONE, ONE, ONE, 1, wanted, None, out)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        whole, back = conv(torch.arange(9)), conv(torch.arange(9).flip(0)).flip(0)
        torch.set_num_threads(1)
        alone = torch.cat([conv(torch.tensor([b])) for b in range(9)])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(whole, alone)
    assert torch.equal(back, alone)


@pytest.mark.parametrize("algorithm", CHOSEN_BY_PATCH)
def test_each_patch_of_a_batch_may_have_its_own_algorithm(algorithm, generator):
    boxes = random_boxes(generator, 9)
    changes = random_patches(generator, boxes, 8, torch.float32)
    weight = torch.randn(24, 8, 3, 3, 3, generator=generator)
    window = bx.Window((3, 3, 3), ONE, ONE, ONE)
    out_boxes = torch.from_numpy(bx.through_window(boxes.numpy(), window, SIZE))
    slot = bx.largest(out_boxes.numpy())

    def conv(tiled):
        out = new_out("cpu", torch.float32, 9, slot, 24)
        points = transformed_to(algorithm, weight)
        packed = patches.pack_weight(weight)
        return patches.conv(changes, boxes, packed, ONE, ONE, ONE, out_boxes, None, out, points, tiled)

    tiled = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1], dtype=torch.uint8)
    mixed, all_tiled, none = conv(tiled), conv(torch.ones_like(tiled)), conv(torch.zeros_like(tiled))
    assert torch.equal(mixed, torch.where(tiled[:, None, None, None, None].bool(), all_tiled, none))
    assert not torch.equal(all_tiled, none)


def test_values_that_sums_might_overflow_with_are_left_to_the_direct_convolution(generator):
    boxes = torch.tensor([[2, 2, 2, 6, 6, 6]] * 2, dtype=torch.int32)
    changes = torch.randn(2, 4, 4, 4, 3, generator=generator)
    changes[1, 2, 1, 0, 2] = 1e38
    weight = torch.randn(4, 3, 3, 3, 3, generator=generator)
    out_boxes = torch.tensor([[1, 1, 1, 7, 7, 7]] * 2, dtype=torch.int32)
    outs = {}
    for algorithm in ("direct", "toom4"):
        outs[algorithm] = new_out("cpu", torch.float32, 2, (6, 6, 6), 4)
        convolve(algorithm, changes, boxes, weight, ONE, ONE, ONE, 1, out_boxes, None, outs[algorithm])
    assert torch.equal(outs["direct"][1], outs["toom4"][1])
    assert not torch.equal(outs["direct"][0], outs["toom4"][0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tiled": None}, "come together"),
        ({"tiled": torch.ones(1, dtype=torch.uint8)}, "uint8"),
        ({"tiled": torch.ones(2, dtype=torch.int64)}, "uint8"),
        ({"transformed": torch.zeros(125, 1, 2, 8)}, "points"),
        ({"transformed": torch.zeros(64, 1, 3, 8)}, "number of channels"),
        ({"transformed": torch.zeros(64, 1, 2, 4)}, "packed"),
        ({"transformed": torch.zeros(64, 1, 2, 8).double()}, "dtype"),
        ({"stride": (1, 2, 1)}, "stride"),
        ({"dilation": (1, 2, 1)}, "dilation"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(change, words):
    boxes = torch.tensor([[0, 0, 0, 3, 3, 3], [1, 1, 1, 4, 4, 4]], dtype=torch.int32)
    weight = torch.zeros(5, 2, 3, 3, 3)
    given = {
        "patches": torch.zeros(2, 3, 3, 3, 2), "boxes": boxes, "weight": patches.pack_weight(weight),
        "stride": ONE, "padding": ONE, "dilation": ONE, "out_boxes": boxes, "before": None,
        "out": torch.zeros(2, 3, 3, 3, 5), "transformed": transformed_weight(weight, 2),
        "tiled": torch.ones(2, dtype=torch.uint8),
    }  # fmt: skip
    patches.conv(**given)
    with pytest.raises(RuntimeError, match=words):
        patches.conv(**given | change)
