"""NaN and infinity pass through every patch operator as they pass through torch on whole maps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from patch_inputs import (
    ALGORITHMS,
    CONVOLUTIONS,
    POOLS,
    SIZE,
    convolve,
    new_out,
    random_boxes,
    random_patches,
)
from reference import patches as reference

from pyadx.inference.incremental import boxes as bx
from pyadx.ops import patches

pytestmark = pytest.mark.usefixtures("poisoned_memory")

SPECIAL = [torch.nan, torch.inf, -torch.inf]


def overflown(tensor, generator):
    """Some entries NaN or infinite."""
    made = tensor.clone()
    for value in SPECIAL:
        made[torch.rand(made.shape, generator=generator) < 0.04] = value
    return made


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def dtype(request):
    return request.param


def nan_case(generator, dtype, channels=5, count=8):
    """Boxes, changes that hold NaN and infinity inside them, and a finite map."""
    boxes = random_boxes(generator, count)
    changes = random_patches(generator, boxes, channels, dtype)
    slot = changes.shape[1:4]
    changes = reference.cut(reference.whole(overflown(changes, generator), boxes, SIZE), boxes, slot)
    return boxes, changes, torch.randn(*SIZE, channels, generator=generator, dtype=dtype)


def close_with_nan(actual, expected):
    assert not torch.isfinite(expected).all()
    assert torch.allclose(actual.cpu().double(), expected.double(), rtol=0, atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("scaled", [False, True])
def test_nan_and_infinity_pass_through_relu(scaled, dtype, device, generator):
    boxes, changes, before = nan_case(generator, dtype)
    scale = torch.randn(5, generator=generator, dtype=dtype) if scaled else None
    expected = reference.relu(changes, boxes, before, scale)
    given = [t.to(device) if t is not None else None for t in (changes, boxes, before, scale)]
    close_with_nan(patches.relu(*given, torch.empty_like(given[0])), expected)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("window", POOLS, ids=str)
def test_nan_and_infinity_pass_through_max_pool(window, rectify, dtype, device, generator):
    boxes, changes, before = nan_case(generator, dtype)
    size = torch.nn.functional.max_pool3d(torch.zeros(1, 1, *SIZE), *window).shape[2:]
    out_boxes = bx.through_window(boxes.numpy(), bx.Window(*window), size)
    slot, out_boxes = bx.largest(out_boxes), torch.from_numpy(out_boxes)
    expected = reference.max_pool(changes, boxes, before, *window, rectify, out_boxes, slot)
    out = new_out(device, dtype, 8, slot, 5)
    given = (t.to(device) for t in (changes, boxes, before))
    close_with_nan(patches.max_pool(*given, *window, rectify, out_boxes.to(device), out), expected)


@pytest.mark.parametrize("value", SPECIAL, ids=str)
@pytest.mark.parametrize("rectify", [False, True])
def test_max_pool_over_a_map_that_holds_nan_or_infinity_gives_the_values_of_torch(
    rectify, value, dtype, device, generator
):
    """Padding with -infinity before a max pooling is common; windows that hold nothing else included."""
    boxes = torch.tensor([[0, 0, 0, 4, 4, 4], [1, 2, 3, 6, 7, 8]], dtype=torch.int32)
    before = torch.randn(*SIZE, 3, generator=generator, dtype=dtype)
    before[:2] = value
    before[5, 5, 5] = value
    changes = torch.randn(2, 5, 5, 5, 3, generator=generator, dtype=dtype)
    changes = reference.cut(reference.whole(changes, boxes, SIZE), boxes, (5, 5, 5))
    window = ((2, 2, 2), (1, 1, 1), (0, 0, 0), (1, 1, 1))
    everything = torch.tensor([[0, 0, 0, *(n - 1 for n in SIZE)]] * 2, dtype=torch.int32)
    out = new_out(device, dtype, 2, everything[0, 3:].tolist(), 3)
    given = (t.to(device) for t in (changes, boxes, before))
    patches.max_pool(*given, *window, rectify, everything.to(device), out)

    def pooled(maps):
        moved = reference.last(torch.nn.functional.max_pool3d(reference.first(maps), *window))
        return moved.clamp(min=0) if rectify else moved

    after = pooled(before + reference.whole(changes, boxes, SIZE))
    assert torch.allclose(pooled(before[None]) + out.cpu(), after, rtol=0, atol=1e-5, equal_nan=True)


def test_nan_and_infinity_pass_through_gather_place_scatter_and_total(dtype, device, generator):
    boxes, changes, source = nan_case(generator, dtype)
    given = (changes.to(device), boxes.to(device))
    whole = reference.whole(changes, boxes, SIZE)
    out = new_out(device, dtype, 8, SIZE, 5)
    close_with_nan(patches.scatter(*given, source.to(device), out), source + whole)
    everything = torch.tensor([[0, 0, 0, *SIZE]] * 8, dtype=torch.int32)
    laid = {"source": source.to(device), "patches": given[0], "boxes": given[1]}
    close_with_nan(patches.gather(everything.to(device), out, **laid), source + whole)
    close_with_nan(patches.place(*given, everything.to(device), out), whole)
    close_with_nan(patches.place(*given, everything.to(device), out, add=True), whole + whole)
    sums = torch.empty(8, 5, dtype=dtype, device=device)
    close_with_nan(patches.total(*given, sums), whole.double().sum((1, 2, 3)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_nan_and_infinity_pass_through_conv(layer, rectified, algorithm, dtype, generator):
    channels, outputs, kernel, stride, padding, dilation, groups = layer
    boxes, changes, _ = nan_case(generator, dtype, channels)
    weight = torch.randn(outputs, channels // groups, *kernel, generator=generator, dtype=dtype)
    weight /= weight[0].numel() ** 0.5
    window = bx.Window(kernel, stride, padding, dilation)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    sizes = zip(SIZE, padding, reach, stride, strict=True)
    out_size = tuple((n + 2 * p - r - 1) // s + 1 for n, p, r, s in sizes)
    before = torch.randn(*out_size, outputs, generator=generator, dtype=dtype) if rectified else None
    out_boxes = bx.through_window(boxes.numpy(), window, out_size)
    slot, out_boxes = bx.largest(out_boxes), torch.from_numpy(out_boxes)
    args = (stride, padding, dilation)
    expected = reference.conv(changes, boxes, weight, *args, groups, SIZE, out_boxes, slot, before)
    out = new_out("cpu", dtype, 8, slot, outputs)
    convolve(algorithm, changes, boxes, weight, *args, groups, out_boxes, before, out)
    close_with_nan(out, expected)


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
def test_the_inner_loops_of_every_instruction_set_pass_the_tests_of_convolution(isa):
    """The loops are chosen when the library is loaded, so every choice is a process of its own."""
    if isa == patches.instruction_set():
        pytest.skip("what the other tests run anyway")
    code = (
        "import pytest, sys; from pyadx.ops import patches; found = patches.instruction_set();"
        f"sys.exit(77) if found != '{isa}' else None;"
        f"sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', r'{__file__}',"
        f" r'{Path(__file__).parent / 'test_patch_conv.py'}',"
        " '-k', '(nan_and_infinity_pass_through_conv or test_patch_conv) and not emulated']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYADX_ISA": isa}, capture_output=True, text=True
    )
    if done.returncode == 77:
        pytest.skip(f"this machine has no {isa}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
