"""The patch convolution by products of bfloat16: what it keeps of float32, on every machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from patch_inputs import convolve, new_out
from reference import patches as reference

from pyadx.ops import split

ONE = (1, 1, 1)
SIZE = (7, 6, 21)
EVERYTHING = torch.tensor([[0, 0, 0, *SIZE]], dtype=torch.int32)

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def case(generator, channels=20, outputs=24):
    changes = torch.randn(1, *SIZE, channels, generator=generator)
    weight = torch.randn(outputs, channels, 3, 3, 3, generator=generator) / (27 * channels) ** 0.5
    return changes, weight


def conv(algorithm, changes, weight):
    out = new_out("cpu", torch.float32, 1, SIZE, weight.shape[0])
    args = (EVERYTHING, weight, ONE, ONE, ONE, 1, EVERYTHING, None, out)
    return convolve(algorithm, changes, *args)


def exact(changes, weight):
    args = (ONE, ONE, ONE, 1, SIZE, EVERYTHING, SIZE, None)
    return reference.conv(changes.double(), EVERYTHING, weight.double(), *args)


def error(algorithm, changes, weight):
    """The largest error, relative to the largest change."""
    expected = exact(changes, weight)
    return float((conv(algorithm, changes, weight) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("outputs", "channels"), [(1, 1), (17, 5), (32, 11), (16, 32)])
def test_parts_lie_where_the_kernel_reads_them_and_add_up_to_the_weight(outputs, channels, generator):
    weight = torch.randn(outputs, channels, 3, 3, 3, generator=generator)
    parts = split.split_weight(weight)
    assert parts.dtype == torch.bfloat16
    whole = parts.float().sum(3)
    met = torch.zeros_like(whole)
    for k in range(outputs):
        for c in range(channels):
            for tap in range(27):
                depth = tap % 3 * channels + c
                at = (k // 16, tap // 3, depth // 32, depth % 32 // 2, k % 16, depth % 2)
                met[at] = weight[k, c].flatten()[tap]
    assert torch.equal(whole, met)


@pytest.mark.parametrize("channels", [1, 8, 33, 128])
@pytest.mark.parametrize("rectified", [False, True], ids=["both signs", "after a ReLU"])
def test_the_error_is_at_most_three_times_that_of_float32(rectified, channels, generator):
    changes, weight = case(generator, channels, 32)
    if rectified:  # sums do not cancel
        changes, weight = changes.clamp(min=0), weight.abs()
    assert error("amx", changes, weight) <= 3 * error("direct", changes, weight)


@pytest.mark.parametrize("scale", [2.0**-59, 2.0**-20, 2.0**57], ids=str)
def test_digits_do_not_depend_on_the_scale(scale, generator):
    changes, weight = case(generator)
    changes /= changes.abs().max()
    assert torch.equal(conv("amx", changes * scale, weight), conv("amx", changes, weight) * scale)


@pytest.mark.parametrize("largest", [0.0, 1e-45, 1e-39, 2.0**-61, 2.0**61, 3.4e38], ids=str)
def test_changes_whose_parts_would_leave_the_range_are_left_to_the_direct_convolution(largest, generator):
    changes, weight = case(generator)
    changes *= 1e-6
    if largest < 1:
        changes = changes.sign() * largest
    else:
        changes[0, 3, 3, 3, 3] = largest
    assert torch.equal(conv("amx", changes, weight), conv("direct", changes, weight))


@pytest.mark.parametrize("small", [0.0, 1e-45, 1e-39, 1e-30], ids=str)
def test_denormal_and_small_changes_beside_large_ones(small, generator):
    changes, weight = case(generator)
    changes[0, 2:] = small
    changes[0, :, 1, 4:9] = -0.0
    assert error("amx", changes, weight) <= 3 * error("direct", changes, weight)


@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-30, 3.4e38, torch.inf, torch.nan], ids=str)
def test_weights_whose_parts_would_leave_the_range_are_not_split(value):
    assert split.split_weight(torch.full((2, 3, 3, 3, 3), value)) is None


def test_only_float32_is_split():
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert split.split_weight(torch.ones(2, 3, 3, 3, 3, dtype=dtype)) is None


def test_no_channels_are_not_split():
    assert split.split_weight(torch.ones(2, 0, 3, 3, 3)) is None


def print_bytes():
    generator = torch.Generator().manual_seed(0)
    for channels, outputs in ((1, 7), (20, 24), (40, 33)):
        changes, weight = case(generator, channels, outputs)
        changes[0, 1, :, 3:] *= 1e-37
        print(conv("amx", changes, weight).numpy().tobytes().hex())


def printed(**environment):
    """The bytes in a process of its own: instructions are chosen once per process."""
    here = Path(__file__)
    code = (
        f"import sys; sys.path[:0] = [r'{here.parents[1]}', r'{here.parent}'];"
        "import test_split_products; test_split_products.print_bytes()"
    )
    others = {name: value for name, value in os.environ.items() if name not in ("PYADX_AMX", "PYADX_ISA")}
    done = subprocess.run([sys.executable, "-c", code], env=others | environment, capture_output=True)
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout


@pytest.fixture(scope="module")
def emulated():
    return printed(PYADX_AMX="emulated")


@pytest.mark.skipif(split.arithmetic() != "amx", reason="this processor has no AMX")
def test_the_instructions_give_the_bytes_of_their_emulation(emulated):
    assert printed() == emulated


@pytest.mark.parametrize("isa", ["avx2", "portable"])
def test_the_emulation_gives_the_same_bytes_with_every_instruction_set(isa, emulated):
    assert printed(PYADX_AMX="emulated", PYADX_ISA=isa) == emulated
