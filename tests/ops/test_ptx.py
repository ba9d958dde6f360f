"""What nvcc makes of the kernels: no 64-bit division, wide accesses, few instructions."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
# Instructions of a thread, which owns four channels; before, one channel took 342, 679, 579, 267 and 145.
MOST = {
    "Gather": 300,
    "Relu": 240,
    "MaxPool": 740,
    "Place": 230,
    "Scatter": 160,
    "sum_kernel": 160,
    "dot_kernel": 220,
}
# Loops over channels are unrolled; before, the upsampling took 193, with three 64-bit divisions.
MOST_OF_CAM = {"sum_planar_kernelIf": 280, "add_parts_kernel": 110, "upsample_kernel": 190}


def ptx(folder, name, arch):
    """PTX of one source by the kernel's mangled name."""
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc")
    out, source = folder / "kernels.ptx", CSRC / f"{name}.cu"
    options = ["-O3", "--std=c++17", f"-arch={arch}", "-DPYADX_WITH_CUDA", "-I", CSRC]
    done = subprocess.run(["nvcc", "-ptx", *options, source, "-o", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"\.entry (\w+)(\(.*?\n\})", out.read_text(), re.DOTALL))


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ptx")
    found = {}
    for name in ("patches/patches_cuda", "patches/dot_cuda", "cam/cam_cuda"):
        found |= ptx(folder, name, "sm_90")
    assert len(found) == 5 * 4 + 2 + 2 + (2 * 4 + 2 + 4 + 2)
    return found


def instructions(body):
    return len(re.findall(r"^\s+(?:@!?%p\d+ )?[a-z][a-z0-9_.]*\s", body, re.MULTILINE))


def test_nothing_is_divided_but_by_multiplication(kernels):
    for name, body in kernels.items():
        assert not re.search(r"\b(div|rem)\.[su](32|64)", body), name


def small_enough(kernels, part, most):
    """The kernels of which the name has a part, none of them with more instructions."""
    bodies = {name: body for name, body in kernels.items() if part in name}
    assert bodies
    for name, body in bodies.items():
        assert instructions(body) <= most, name
    return bodies


@pytest.mark.parametrize("operation", MOST)
def test_a_thread_takes_few_instructions_and_moves_16_bytes_at_a_time(kernels, operation):
    for name, body in small_enough(kernels, operation, MOST[operation]).items():
        if "Li4E" in name:
            assert re.search(r"ld\.global\S*\.v4", body), name
            assert re.search(r"st\.global\S*\.v4", body), name


@pytest.mark.parametrize("kernel", MOST_OF_CAM)
def test_a_thread_of_an_activation_map_takes_few_instructions(kernel, kernels):
    small_enough(kernels, kernel, MOST_OF_CAM[kernel])


def test_channel_sums_load_16_bytes_at_a_time(kernels):
    wide = {name: body for name, body in kernels.items() if re.search("sum_planar_kernel.*Li[248]E", name)}
    assert len(wide) == 4
    for name, body in wide.items():
        assert re.search(r"ld\.global\S*\.(v4\.[fu]32|v2\.f64)", body), name


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_convolutions_multiply_on_tensor_cores(arch, tmp_path):
    found = ptx(tmp_path, "patches/conv_cuda", arch)
    multiplied = {name: body for name, body in found.items() if "mma_kernel" in name}
    assert len(multiplied) == 4 * 2
    assert any("plain_kernel" in name for name in found)
    for name, body in found.items():
        assert not re.search(r"\b(div|rem)\.[su]64", body), name
    for name, body in multiplied.items():
        lanes = int(re.search(r"ILi(\d+)E", name)[1])
        # Three products for each tile of 16 x 8 of a warp, and for each 8 of the 32 numbers of a chunk.
        assert len(re.findall(r"mma\.sync\.aligned\.m16n8k8\S*tf32", body)) == 3 * 4 * 4 * lanes // 8 // 4
        assert "cp.async.ca.shared.global" in body, name
        assert ".local" not in body, name
