import pytest
import torch
from reference import occlusion as reference

from pyadx import ops

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Odd, non-cubic, one-voxel, rows of 16 bytes and not, several channels.
SHAPES = [(1, 5, 7, 9), (2, 8, 8, 8), (3, 1, 1, 1), (1, 4, 3, 33), (1, 2, 16, 16)]

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def random_volume(shape, dtype, device, generator):
    return torch.randn(shape, generator=generator).to(dtype).to(device)


def boxes_of_all_kinds(shape, generator):
    """Random boxes, and every special one: corners, outside, empty, reversed, larger than the volume."""
    _, d, h, w = shape
    start = torch.randint(-3, max(d, h, w), (12, 3), generator=generator)
    random = torch.cat([start, start + torch.randint(0, 6, (12, 3), generator=generator)], 1)
    special = [
        [0, 0, 0, 1, 1, 1],
        [d - 1, h - 1, w - 1, d, h, w],
        [-9, -9, -9, 99, 99, 99],
        [-5, 0, 0, 0, h, w],
        [d, 0, 0, d + 4, h, w],
        [2, 2, 2, 2, 2, 2],
        [3, 3, 3, 1, 1, 1],
        [-(2**40), 0, 0, 2**40, 1, 1],
    ]
    return torch.cat([random, torch.tensor(special)])


def fills_of_all_kinds(volume, generator):
    channels = volume.shape[0]
    return [
        0.25,
        [float(c) + 0.5 for c in range(channels)],
        torch.randn(volume.shape[1:], generator=generator),
        torch.randn(volume.shape, generator=generator).to(volume.dtype),
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_boxes_equal_reference(shape, dtype, device, generator):
    volume = random_volume(shape, dtype, device, generator)
    boxes = boxes_of_all_kinds(shape, generator)
    for fill in fills_of_all_kinds(volume, generator):
        expected = reference.occlude_boxes(volume, boxes, fill)
        assert torch.equal(ops.occlude_boxes(volume, boxes.to(device), fill), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_labels_equal_reference(shape, dtype, device, generator):
    volume = random_volume(shape, dtype, device, generator)
    labels = torch.randint(-4, 20, shape[1:], generator=generator, dtype=torch.int32)
    labels.view(-1)[0] = 2**31 - 1
    labels.view(-1)[-1] = -(2**31)
    lowest, highest = -(2**31), 2**31
    intervals = torch.tensor(
        [[0, 5], [3, 4], [7, 7], [9, 2], [-4, 20], [lowest, highest], [highest - 1, highest],
         [highest, highest + 5], [lowest - 9, lowest], [lowest, lowest + 1], [-(2**62), 2**62]]
    )  # fmt: skip
    for fill in fills_of_all_kinds(volume, generator):
        expected = reference.occlude_labels(volume, labels, intervals, fill)
        actual = ops.occlude_labels(volume, labels.to(device), intervals, fill)
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    "view",
    [
        lambda v: v.transpose(1, 3),
        lambda v: v[:, ::2, 1:, ::3],
        lambda v: v[:1].expand(3, -1, -1, -1),
        lambda v: v.flip(2)[..., 1:],
    ],
    ids=["transposed", "strided", "expanded", "offset"],
)
def test_non_contiguous_volumes_and_labels(view, device, generator):
    volume = view(random_volume((2, 6, 8, 10), torch.float32, device, generator))
    boxes = boxes_of_all_kinds(volume.shape, generator)
    assert torch.equal(
        ops.occlude_boxes(volume, boxes, 7.0), reference.occlude_boxes(volume.contiguous(), boxes, 7.0)
    )
    labels = torch.arange(2 * volume[0].numel(), dtype=torch.int32).reshape(*volume.shape[1:], 2)[..., 0]
    intervals = torch.tensor([[0, 30], [17, 90]])
    expected = reference.occlude_labels(volume.contiguous(), labels.contiguous(), intervals, 7.0)
    assert torch.equal(ops.occlude_labels(volume, labels.to(device), intervals, 7.0), expected)


def test_no_boxes_and_empty_volumes_give_empty_batches(device):
    none = torch.empty(0, 6, dtype=torch.int64)
    assert ops.occlude_boxes(torch.ones(1, 3, 3, 3, device=device), none).shape == (0, 1, 3, 3, 3)
    one = torch.zeros(1, 6, dtype=torch.int64)
    assert ops.occlude_boxes(torch.ones(1, 0, 3, 3, device=device), one).shape == (1, 1, 0, 3, 3)


def test_out_is_written_completely(device, generator):
    volume = random_volume((1, 7, 9, 11), torch.float32, device, generator)
    boxes = boxes_of_all_kinds(volume.shape, generator)
    out = torch.full((len(boxes), *volume.shape), float("nan"), device=device)
    assert ops.occlude_boxes(volume, boxes, 0.0, out=out) is out
    assert torch.equal(out, reference.occlude_boxes(volume, boxes, 0.0))
    labels = torch.zeros(volume.shape[1:], dtype=torch.int32, device=device)
    intervals = torch.tensor([[0, 1], [1, 2]])
    out = torch.full((2, *volume.shape), float("nan"), device=device)
    ops.occlude_labels(volume, labels, intervals, 3.0, out=out)
    assert torch.equal(out, reference.occlude_labels(volume, labels.cpu(), intervals, 3.0))


def test_more_items_than_one_grid_holds(device):
    """A CUDA grid has 65,535 rows: larger batches must wrap."""
    items = 700_001
    volume = torch.tensor([1.0, 2.0], device=device).reshape(1, 1, 1, 2)
    boxes = torch.tensor([0, 0, 0, 1, 1, 1]).repeat(items, 1)
    boxes[::2, 2:] = torch.tensor([1, 1, 1, 2])
    out = ops.occlude_boxes(volume, boxes.to(device), 0.0).reshape(items, 2)
    assert torch.equal(out[0::2].unique(dim=0).cpu(), torch.tensor([[1.0, 0.0]]))
    assert torch.equal(out[1::2].unique(dim=0).cpu(), torch.tensor([[0.0, 2.0]]))


def test_results_do_not_depend_on_the_number_of_threads(generator):
    volume = random_volume((1, 40, 41, 42), torch.float32, "cpu", generator)
    boxes = boxes_of_all_kinds(volume.shape, generator)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = ops.occlude_boxes(volume, boxes)
        torch.set_num_threads(max(2, threads))
        assert torch.equal(one, ops.occlude_boxes(volume, boxes))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda v, b: ops.occlude_boxes(v[0], b), ValueError, "[C,D,H,W]"),
        (lambda v, b: ops.occlude_boxes(v.long(), b), TypeError, "int64"),
        (lambda v, b: ops.occlude_boxes("scan", b), TypeError, "str"),
        (lambda v, b: ops.occlude_boxes(v, b.float()), TypeError, "integers"),
        (lambda v, b: ops.occlude_boxes(v, b[:, :5]), ValueError, "[B, 6]"),
        (lambda v, b: ops.occlude_boxes(v, b, [1.0, 2.0]), ValueError, "fill"),
        (lambda v, b: ops.occlude_boxes(v, b, torch.zeros(3, 3, 3)), ValueError, "fill"),
        (lambda v, b: ops.occlude_boxes(v, b, out=v), ValueError, "out"),
        (lambda v, b: ops.occlude_boxes(v, b, out=v.double()[None]), ValueError, "out"),
        (lambda v, b: ops.occlude_labels(v, v[0], b[:, :2]), TypeError, "int32"),
        (lambda v, b: ops.occlude_labels(v, v[0, 1:].int(), b[:, :2]), ValueError, "spatial shape"),
        (lambda v, b: ops.occlude_labels(v, v[0].int(), b), ValueError, "[B, 2]"),
    ],
)
def test_wrong_arguments_are_named(call, error, words):
    volume, boxes = torch.ones(1, 4, 5, 6), torch.zeros(2, 6, dtype=torch.int64)
    with pytest.raises(error) as raised:
        call(volume, boxes)
    assert words in str(raised.value)


def test_native_safety_net_refuses_wrong_direct_calls():
    volume, boxes = torch.ones(1, 4, 4, 4), torch.zeros(1, 6, dtype=torch.int64)
    fill = torch.zeros(1, 1, 1, 1)
    with pytest.raises(RuntimeError, match="6 columns"):
        torch.ops.pyadx.occlude_boxes(volume, boxes[:, :4], fill)
    with pytest.raises(RuntimeError, match="fill"):
        torch.ops.pyadx.occlude_boxes(volume, boxes, torch.zeros(1, 3, 1, 1))
    with pytest.raises(RuntimeError, match="dtype"):
        torch.ops.pyadx.occlude_boxes(volume, boxes, fill.double())
    with pytest.raises(RuntimeError, match="out"):
        torch.ops.pyadx.occlude_boxes_out(volume, boxes, fill, torch.zeros(2, 1, 4, 4, 4))
    labels = torch.zeros(4, 4, 3, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="spatial shape"):
        torch.ops.pyadx.occlude_labels(volume, labels, boxes[:, :2], fill)
