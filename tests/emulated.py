"""The CUDA kernels, built for the host and run thread by thread (see tests/native/emulation)."""

import ctypes
import functools
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

SOURCE = Path(__file__).parent / "native" / "emulation"
BUILD = Path(__file__).parents[1] / "build" / "emulation"


@functools.cache
def library():
    """Build what has changed and load it; skips where there is nothing to build with."""
    try:
        import cmake

        tool = str(Path(cmake.CMAKE_BIN_DIR) / "cmake")
    except ImportError:
        tool = shutil.which("cmake")
    if tool is None or shutil.which("c++") is None:
        pytest.skip("needs cmake and a C++ compiler")
    torch_dir = Path(torch.__file__).parent
    configure = [tool, "-S", str(SOURCE), "-B", str(BUILD), f"-DPYADX_TORCH_DIR={torch_dir}"]
    for command in (configure, [tool, "--build", str(BUILD), "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    path = BUILD / "_C_emulated.so"
    torch.ops.load_library(str(path))
    return ctypes.CDLL(str(path))


def only_blocks(x=(0, 2**32 - 1), y=(0, 2**32 - 1)):
    """Run blocks in these ranges only, ends included; without arguments all of them."""
    library().emulation_only_blocks(*(ctypes.c_uint(n) for n in (*x, *y)))
