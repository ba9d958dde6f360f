import numpy as np
import pytest
import torch
from patch_inputs import (
    CONVOLUTIONS,
    POOLS,
    SHARES,
    SIZE,
    assert_close,
    new_out,
    random_boxes,
    random_patches,
    scattered,
)
from reference import patches as reference

from pyadx.inference.incremental import boxes as bx
from pyadx.ops import patches

DTYPES = [torch.float32, torch.float64]

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return request.param


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


@SHARES
@pytest.mark.parametrize("scaled", [False, True])
def test_relu_moves_as_whole_maps_do(scaled, share, dtype, device, generator):
    boxes = random_boxes(generator, 6)
    changes = scattered(random_patches(generator, boxes, 5, dtype), share, generator)
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


@SHARES
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("window", POOLS, ids=str)
def test_max_pool_moves_as_whole_maps_do(window, rectify, share, dtype, device, generator):
    boxes = random_boxes(generator, 8)
    changes = scattered(random_patches(generator, boxes, 6, dtype), share, generator)
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


@SHARES
@pytest.mark.parametrize("channel", [0, 2])
def test_place_adds_to_a_map_and_leaves_the_rest_alone(channel, share, dtype, device, generator):
    boxes = random_boxes(generator, 1)
    changes = scattered(random_patches(generator, boxes, 4, dtype), share, generator)
    z0, y0, x0, z1, y1, x1 = boxes[0].tolist()
    kept = torch.randn(1, *SIZE, 4 + 2 * channel, generator=generator, dtype=dtype)
    expected = kept.clone()
    own = expected[0, z0:z1, y0:y1, x0:x1, channel : channel + 4]
    own += changes[0, : z1 - z0, : y1 - y0, : x1 - x0]
    whole = torch.tensor([[0, 0, 0, *SIZE]], dtype=torch.int32)
    out = kept.to(device)
    patches.place(changes.to(device), boxes.to(device), whole.to(device), out, channel=channel, add=True)
    assert torch.equal(out.cpu(), expected)


@pytest.mark.parametrize("place", range(4))
def test_nan_is_a_change_wherever_it_stands_in_a_row(place, dtype, device):
    boxes = torch.tensor([[1, 1, 1, 3, 3, 5]], dtype=torch.int32)
    changes = torch.zeros(1, 2, 2, 4, 5, dtype=dtype)
    changes[0, 1, 0, place, 3] = torch.nan
    before = torch.ones(*SIZE, 5, dtype=dtype)
    given = [t.to(device) for t in (changes, boxes, before)]
    moved = patches.relu(*given, None, torch.empty_like(given[0])).cpu()
    assert moved.isnan().nonzero().tolist() == [[0, 1, 0, place, 3]]
    everything = torch.tensor([[0, 0, 0, *SIZE]], dtype=torch.int32).to(device)
    one, none = (1, 1, 1), (0, 0, 0)
    out = new_out(device, dtype, 1, SIZE, 5)
    patches.max_pool(*given, one, one, none, one, False, everything, out)
    assert out.cpu().isnan().nonzero().tolist() == [[0, 2, 1, 1 + place, 3]]


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


@SHARES
@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (5, 3), (16, 2), (40, 9)])
def test_dot_multiplies_as_whole_maps_do(channels, outputs, share, dtype, device, generator):
    boxes = random_boxes(generator, 6)
    changes = scattered(random_patches(generator, boxes, channels, dtype), share, generator)
    weight = torch.randn(outputs, *SIZE, channels, generator=generator, dtype=dtype) / channels
    out = torch.full((6, outputs), torch.nan, dtype=dtype, device=device)
    assert patches.dot(changes.to(device), boxes.to(device), weight.to(device), out) is out
    assert_close(out, reference.dot(changes, boxes, weight), dtype)


def test_dot_gives_the_same_bytes_in_any_batch(dtype, device, generator):
    boxes = random_boxes(generator, 9)
    changes = random_patches(generator, boxes, 20, dtype).to(device)
    weight = torch.randn(4, *SIZE, 20, generator=generator, dtype=dtype).to(device)
    together = patches.dot(changes, boxes.to(device), weight, changes.new_empty(9, 4))
    for b in range(9):
        alone = patches.dot(changes[[b]], boxes[[b]].to(device), weight, changes.new_empty(1, 4))
        assert torch.equal(alone[0], together[b])


def test_dot_of_no_patches_and_of_no_outputs(dtype, device):
    boxes = torch.zeros(0, 6, dtype=torch.int32, device=device)
    weight = torch.zeros(3, *SIZE, 2, dtype=dtype, device=device)
    none = torch.zeros(0, 3, 3, 3, 2, dtype=dtype, device=device)
    assert patches.dot(none, boxes, weight, none.new_empty(0, 3)).shape == (0, 3)
    one = boxes.new_zeros(1, 6), weight.new_zeros(1, 3, 3, 3, 2)
    assert patches.dot(one[1], one[0], weight[:0], none.new_empty(1, 0)).shape == (1, 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda p, b, o: patches.dot(p, b + 5, torch.zeros(3, *SIZE, 2), o[:, 0, 0, :, 0]),
            "beyond its map",
        ),
        (lambda p, b, o: patches.dot(p, b, torch.zeros(3, *SIZE, 4), o[:, 0, 0, :, 0]), "K, D, H, W, C"),
        (lambda p, b, o: patches.dot(p, b, torch.zeros(3, *SIZE, 2), o[:, 0, 0, 0].clone()), "B, K"),
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


def test_boxes_are_checked_on_a_gpu_when_asked(device, is_emulated, monkeypatch):
    if device.type == "cpu" and not is_emulated:
        pytest.skip("on the CPU boxes are always checked")
    changes = torch.zeros(1, 2, 2, 2, 4, device=device)
    before, out = torch.zeros(*SIZE, 4, device=device), torch.empty_like(changes)
    boxes = torch.tensor([[0, 0, 0, 2, 2, 2]], dtype=torch.int32, device=device)
    monkeypatch.setenv("PYADX_DEBUG_BOXES", "1")
    patches.relu(changes, boxes, before, None, out)
    with pytest.raises(RuntimeError, match="beyond its map"):
        patches.relu(changes, boxes + max(SIZE), before, None, out)
    with pytest.raises(RuntimeError, match="larger than the patch"):
        patches.relu(changes, boxes * 2, before, None, out)
