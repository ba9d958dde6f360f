"""What the tests of patch operators are run on."""

from unittest import mock

import emulated
import pytest
import torch
from conftest import cuda_skip_reason
from reference import patches as reference

from pyadx.inference.incremental import boxes as bx
from pyadx.ops import patches
from pyadx.ops.split import split_weight
from pyadx.ops.toom_cook import transformed_weight

SIZE = (9, 8, 11)
CHOSEN_BY_PATCH = ["toom2", "toom4", "amx"]  # on the CPU
ALGORITHMS = ["direct", *CHOSEN_BY_PATCH, "emulated", "cuda"]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}

POOLS = [
    ((2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1)),
    ((2, 3, 1), (1, 2, 3), (1, 0, 0), (1, 1, 1)),
    ((2, 2, 2), (3, 3, 3), (0, 0, 0), (2, 1, 3)),
]

CONVOLUTIONS = [
    # channels, outputs, kernel, stride, padding, dilation, groups
    (1, 8, (3, 3, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    (8, 8, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    (5, 17, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    (4, 40, (3, 3, 3), (1, 1, 1), (2, 2, 2), (1, 1, 1), 1),
    (3, 64, (3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), 1),
    (6, 32, (1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    (6, 5, (1, 1, 1), (2, 2, 2), (0, 0, 0), (1, 1, 1), 1),
    (2, 16, (7, 7, 7), (2, 2, 2), (3, 3, 3), (1, 1, 1), 1),
    (3, 9, (3, 3, 3), (1, 1, 1), (2, 2, 2), (2, 2, 2), 1),
    (6, 12, (3, 1, 3), (1, 2, 1), (1, 0, 1), (1, 1, 1), 3),
    (6, 6, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 6),
    (4, 33, (2, 5, 3), (1, 1, 1), (0, 3, 2), (1, 1, 1), 1),
    (35, 64, (3, 3, 3), (1, 1, 1), (1, 0, 2), (1, 1, 1), 1),
]


SHARES = pytest.mark.parametrize("share", [1.0, 0.3, 0.02, 0.0], ids="{:.0%} of the cells change".format)


def scattered(changes, share, generator):
    """Segments fill their boxes in part: rows without a change, and rows with changes in the middle."""
    changes *= torch.rand(*changes.shape[:4], 1, generator=generator) < share
    return changes


def random_boxes(generator, count, size=SIZE):
    """Boxes inside a map: one empty, one as large as the map, one at each end, the rest random."""
    low = torch.stack([torch.randint(0, n, (count,), generator=generator) for n in size], 1)
    high = torch.stack(
        [torch.minimum(low[:, a] + torch.randint(1, 6, (count,), generator=generator), torch.tensor(n))
         for a, n in enumerate(size)], 1
    )  # fmt: skip
    boxes = torch.cat([low, high], 1)
    boxes[0] = 0
    if count > 3:
        boxes[1] = torch.tensor([0, 0, 0, *size])
        boxes[2] = torch.tensor([0, 0, 0, 1, 1, 1])
        boxes[3] = torch.tensor([*(n - 2 for n in size), *size])
    return boxes.int()


def random_patches(generator, boxes, channels, dtype, size=SIZE):
    """Changes inside boxes, zero beyond them, in slots one cell larger than needed."""
    slot = [n + 1 for n in bx.largest(boxes.numpy())]
    maps = torch.randn(len(boxes), *size, channels, generator=generator, dtype=dtype)
    return reference.cut(maps, boxes, slot)


def new_out(device, dtype, count, slot, channels):
    return torch.empty(count, *slot, channels, dtype=dtype, device=device)


def assert_close(actual, expected, dtype):
    assert torch.allclose(actual.cpu().double(), expected.double(), rtol=0, atol=TOLERANCE[dtype])


def transformed_to(algorithm, weight):
    """The weight as an algorithm wants it; skips the test where that is for float32 only."""
    if algorithm != "amx":
        return transformed_weight(weight, int(algorithm[-1]))
    if weight.dtype != torch.float32:
        pytest.skip("products of bfloat16 are for float32")
    return split_weight(weight)


def convolve(algorithm, changes, boxes, weight, stride, padding, dilation, groups, out_boxes, before, out):
    """`pyadx.ops.patches.conv` by an algorithm; skips the test where that is for other layers."""
    if algorithm in ("emulated", "cuda"):
        return convolve_on_gpu(
            algorithm, changes, boxes, weight, stride, padding, dilation, groups, out_boxes, before, out
        )
    tiles = ()
    if algorithm != "direct":
        if (*weight.shape[2:], *stride, *dilation, groups) != (3, 3, 3, 1, 1, 1, 1, 1, 1, 1):
            pytest.skip("tiles are for 3x3x3 kernels of stride, dilation and groups one")
        tiles = (
            transformed_to(algorithm, weight),
            torch.ones(len(changes), dtype=torch.uint8),
        )
    packed = patches.pack_weight(weight, groups)
    return patches.conv(changes, boxes, packed, stride, padding, dilation, out_boxes, before, out, *tiles)


def convolve_on_gpu(how, changes, boxes, weight, stride, padding, dilation, groups, out_boxes, before, out):
    """The CUDA kernel by the same function, on a GPU or as a function of the host; `out` is on the CPU."""
    given = [changes, boxes, patches.pack_cuda_weight(weight, groups), out_boxes, before, out]
    given.append(torch.from_numpy(patches.conv_work(out_boxes.numpy())))
    if how == "cuda":
        if reason := cuda_skip_reason():
            pytest.skip(reason)
        given = [tensor if tensor is None else tensor.cuda() for tensor in given]
    else:
        emulated.library()
    operators = torch.ops.pyadx_emulated if how == "emulated" else torch.ops.pyadx
    changes, boxes, packed, out_boxes, before, result, work = given
    with mock.patch.object(torch.ops, "pyadx", operators):
        patches.conv(
            changes, boxes, packed, stride, padding, dilation, out_boxes, before, result, work=work
        )
    return out if result is out else out.copy_(result)
