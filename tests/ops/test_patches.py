import numpy as np
import pytest
import torch
from patch_inputs import CONVOLUTIONS, POOLS, SIZE, new_out, random_boxes, random_patches
from reference import patches as reference

from pyadx.inference.incremental import boxes as bx
from pyadx.ops import patches

DTYPES = [torch.float32, torch.float64]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return request.param


def assert_close(actual, expected, dtype):
    assert torch.allclose(actual.cpu().double(), expected.double(), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("channels", [1, 5, 16])
@pytest.mark.parametrize("parts", ["map", "patches", "both"])
def test_gather_lays_patches_over_the_map_and_pads_beyond_it(parts, channels, dtype, device, generator):
    boxes = random_boxes(generator, 7)
    laid = random_patches(generator, boxes, channels, dtype)
    source = torch.randn(*SIZE, channels, generator=generator, dtype=dtype)
    frames = random_boxes(generator, 7)
    frames[:, :3] -= 2
    frames[:, 3:] += 1
    slot = [n + 1 for n in bx.largest(frames.numpy())]
    source = source if parts != "patches" else None
    if parts == "map":
        expected = reference.gather(source, None, None, frames, SIZE, 3.5, slot, channels)
        changed = {}
    else:
        expected = reference.gather(source, laid, boxes, frames, SIZE, 3.5, slot, channels)
        changed = {"patches": laid.to(device), "boxes": boxes.to(device)}
    out = new_out(device, dtype, 7, slot, channels)
    own = source.to(device) if source is not None else None
    patches.gather(frames.to(device), out, map_size=SIZE, source=own, pad=3.5, **changed)
    assert_close(out, expected, dtype)


@pytest.mark.parametrize("scaled", [False, True])
def test_relu_moves_as_whole_maps_do(scaled, dtype, device, generator):
    boxes = random_boxes(generator, 6)
    changes = random_patches(generator, boxes, 5, dtype)
    before = torch.randn(*SIZE, 5, generator=generator, dtype=dtype)
    scale = torch.randn(5, generator=generator, dtype=dtype) if scaled else None
    expected = reference.relu(changes, boxes, before, scale)
    given = [t.to(device) if t is not None else None for t in (changes, boxes, before, scale)]
    out = torch.empty_like(given[0])
    assert_close(patches.relu(*given, out), expected, dtype)
    assert_close(patches.relu(*given, given[0]), expected, dtype)  # in place


def test_relu_keeps_the_digits_of_small_changes_of_large_values():
    before = torch.full((1, 1, 1, 1), 1000.0)
    change = torch.full((1, 1, 1, 1, 1), 1e-6)
    boxes = torch.tensor([[0, 0, 0, 1, 1, 1]], dtype=torch.int32)
    assert patches.relu(change, boxes, before, None, torch.empty_like(change)).item() == change.item()
    args = ((1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), True, boxes, torch.empty_like(change))
    assert patches.max_pool(change, boxes, before, *args).item() == change.item()


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("window", POOLS, ids=str)
def test_max_pool_moves_as_whole_maps_do(window, rectify, dtype, device, generator):
    boxes = random_boxes(generator, 8)
    changes = random_patches(generator, boxes, 6, dtype)
    before = torch.randn(*SIZE, 6, generator=generator, dtype=dtype)
    size = torch.nn.functional.max_pool3d(torch.zeros(1, 1, *SIZE), *window).shape[2:]
    out_boxes = bx.through_window(boxes.numpy(), bx.Window(*window), size)
    slot = [n + 1 for n in bx.largest(out_boxes)]
    out_boxes = torch.from_numpy(out_boxes)
    expected = reference.max_pool(changes, boxes, before, *window, rectify, out_boxes, slot)
    out = new_out(device, dtype, 8, slot, 6)
    given = (t.to(device) for t in (changes, boxes, before))
    patches.max_pool(*given, *window, rectify, out_boxes.to(device), out)
    assert_close(out, expected, dtype)


def test_place_concatenates_channels_and_adds(dtype, device, generator):
    inner = random_boxes(generator, 6)
    outer = inner.clone()
    outer[1:, :3] = (outer[1:, :3] - 1).clamp(min=0)
    changes = random_patches(generator, inner, 3, dtype)
    slot = [n + 1 for n in bx.largest(outer.numpy())]
    expected = reference.cut(reference.whole(changes, inner, SIZE), outer, slot)
    out = new_out(device, dtype, 6, slot, 8)
    given = (changes.to(device), inner.to(device), outer.to(device), out)
    patches.place(*given, channel=4)
    assert_close(out[..., 4:7], expected, dtype)
    patches.place(*given, channel=4, add=True)
    assert_close(out[..., 4:7], 2 * expected, dtype)


def test_scatter_copies_the_map_and_adds(dtype, device, generator):
    boxes = random_boxes(generator, 6)
    changes = random_patches(generator, boxes, 3, dtype)
    source = torch.randn(*SIZE, 3, generator=generator, dtype=dtype)
    out = new_out(device, dtype, 6, SIZE, 3)
    patches.scatter(changes.to(device), boxes.to(device), source.to(device), out)
    assert_close(out, source + reference.whole(changes, boxes, SIZE), dtype)


def test_total_sums_boxes(dtype, device, generator):
    boxes = random_boxes(generator, 6)
    changes = random_patches(generator, boxes, 7, dtype)
    out = torch.empty(6, 7, dtype=dtype, device=device)
    patches.total(changes.to(device), boxes.to(device), out)
    assert_close(out, changes.double().sum((1, 2, 3)), dtype)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.02, 0.0], ids="{:.0%} of the cells change".format)
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_conv_moves_as_whole_maps_do(layer, rectified, share, dtype, generator):
    channels, outputs, kernel, stride, padding, dilation, groups = layer
    size = (12, 10, 14)
    boxes = random_boxes(generator, 9, size)
    changes = random_patches(generator, boxes, channels, dtype, size)
    # Segments fill their boxes in part: rows without a change, and rows with changes in the middle.
    changes *= torch.rand(*changes.shape[:4], 1, generator=generator) < share
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
    packed = patches.pack_weight(weight, groups)
    patches.conv(changes, boxes, packed, stride, padding, dilation, out_boxes, before, out)
    assert_close(out, expected, dtype)


@pytest.mark.parametrize("share", [0.5, 0.02, 0.0], ids="{:.0%} of the channels change".format)
@pytest.mark.parametrize("channels", [15, 16, 64, 130])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_leaves_out_channels_that_do_not_change_along_a_row(stride, channels, share, dtype, generator):
    boxes = random_boxes(generator, 6)
    changes = random_patches(generator, boxes, channels, dtype)
    rows = changes.shape[:3]
    changes *= torch.rand(*rows, 1, channels, generator=generator) < share
    weight = torch.randn(9, channels, 3, 3, 3, generator=generator, dtype=dtype) / channels**0.5
    one, strides = (1, 1, 1), (stride,) * 3
    out_size = tuple((n - 1) // stride + 1 for n in SIZE)
    out_boxes = bx.through_window(boxes.numpy(), bx.Window((3, 3, 3), strides, one, one), out_size)
    slot, out_boxes = bx.largest(out_boxes), torch.from_numpy(out_boxes)
    expected = reference.conv(changes, boxes, weight, strides, one, one, 1, SIZE, out_boxes, slot, None)
    out = new_out("cpu", dtype, 6, slot, 9)
    patches.conv(changes, boxes, patches.pack_weight(weight), strides, one, one, out_boxes, None, out)
    assert_close(out, expected, dtype)


def test_conv_does_not_skip_nan_beside_cells_that_do_not_change(generator):
    boxes = torch.tensor([[2, 2, 2, 6, 6, 6]], dtype=torch.int32)
    changes = torch.zeros(1, 4, 4, 4, 3)
    changes[0, 1, 2, 3, 1] = torch.nan
    weight = torch.randn(4, 3, 3, 3, 3, generator=generator)
    out_boxes = torch.tensor([[1, 1, 1, 7, 7, 7]], dtype=torch.int32)
    one = (1, 1, 1)
    out = new_out("cpu", torch.float32, 1, (6, 6, 6), 4)
    patches.conv(changes, boxes, patches.pack_weight(weight), one, one, one, out_boxes, None, out)
    assert out[0, 1:4, 2:5, 3:6].isnan().all()
    assert int(out.isnan().sum()) == 27 * 4


def test_conv_writes_zeros_where_outputs_beyond_the_grown_box_are_asked_for(generator):
    boxes = torch.tensor([[4, 4, 4, 6, 6, 6]], dtype=torch.int32)
    changes = random_patches(generator, boxes, 3, torch.float64)
    weight = torch.randn(4, 3, 3, 3, 3, generator=generator, dtype=torch.float64)
    everything = torch.tensor([[0, 0, 0, *SIZE]], dtype=torch.int32)
    one = (1, 1, 1)
    args = (changes, boxes, weight, one, one, one, 1, SIZE, everything, SIZE, None)
    expected = reference.conv(*args)
    out = new_out("cpu", torch.float64, 1, SIZE, 4)
    patches.conv(changes, boxes, patches.pack_weight(weight), one, one, one, everything, None, out)
    assert_close(out, expected, torch.float64)
    assert (out == 0).any()


def test_conv_sums_each_patch_alike_in_any_batch(generator):
    boxes = random_boxes(generator, 9)
    changes = random_patches(generator, boxes, 8, torch.float32)
    weight = patches.pack_weight(torch.randn(24, 8, 3, 3, 3, generator=generator))
    one = (1, 1, 1)
    out_boxes = torch.from_numpy(
        bx.through_window(boxes.numpy(), bx.Window((3, 3, 3), one, one, one), SIZE)
    )
    slot = bx.largest(out_boxes.numpy())

    def conv(order):
        out = new_out("cpu", torch.float32, len(order), slot, 24)
        given = (changes[order].contiguous(), boxes[order].contiguous())
        return patches.conv(*given, weight, one, one, one, out_boxes[order].contiguous(), None, out)

    whole = conv(torch.arange(9))
    for b in range(9):
        assert torch.equal(conv(torch.tensor([b]))[0], whole[b])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p, b, o: patches.relu(p, b + 5, torch.zeros(*SIZE, 2), None, o), "beyond its map"),
        (lambda p, b, o: patches.relu(p, b * 4, torch.zeros(*SIZE, 2), None, o), "larger than the patch"),
        (lambda p, b, o: patches.relu(p, b, torch.zeros(*SIZE, 3), None, o), "channels"),
        (lambda p, b, o: patches.relu(p, b.long(), torch.zeros(*SIZE, 2), None, o), "int32"),
        (lambda p, b, o: patches.relu(p, b, torch.zeros(*SIZE, 2).double(), None, o), "dtype"),
        (lambda p, b, o: patches.scatter(p, b, torch.zeros(*SIZE, 2), o), "copies of the map"),
        (lambda p, b, o: patches.place(p, b, b, o, channel=1), "too few channels"),
        (lambda p, b, o: patches.total(p, b[:1], o[:, 0, 0, 0]), "boxes"),
    ],
)
def test_wrong_direct_calls_are_refused_before_memory_is_touched(call, words, generator):
    boxes = torch.tensor([[0, 0, 0, 3, 3, 3], [1, 1, 1, 4, 4, 4]], dtype=torch.int32)
    given = torch.zeros(2, 3, 3, 3, 2)
    with pytest.raises(RuntimeError, match=words):
        call(given, boxes, torch.zeros_like(given))


def test_grown_boxes_hold_every_output_that_a_window_moves(generator):
    """The box arithmetic itself, against the convolution of ones."""
    for layer in CONVOLUTIONS:
        _, _, kernel, stride, padding, dilation, _ = layer
        boxes = random_boxes(generator, 20)
        ones = reference.whole(torch.ones(20, *SIZE, 1), boxes.new_tensor([[0, 0, 0, *SIZE]] * 20), SIZE)
        ones = reference.whole(reference.cut(ones, boxes, SIZE), boxes, SIZE)
        out = torch.nn.functional.conv3d(
            reference.first(ones), torch.ones(1, 1, *kernel), None, stride, padding, dilation
        )
        grown = bx.through_window(
            boxes.numpy(), bx.Window(kernel, stride, padding, dilation), out.shape[2:]
        )
        for moved, box in zip(out[:, 0] > 0, torch.from_numpy(np.asarray(grown)), strict=True):
            inside = torch.zeros_like(moved)
            inside[reference.cells(box)] = True
            assert not (moved & ~inside).any()
            if max(dilation) == 1 and all(s <= k for s, k in zip(stride, kernel, strict=True)):
                assert torch.equal(moved, inside)
