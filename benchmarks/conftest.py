"""What every benchmark shares: the device, how a call is timed, and the group its peers are in.

``PYADX_BENCH_DEVICE=cuda`` moves all of them to a GPU. Ratios are formed by ``run.py`` inside a group:
same process, same input, same number of threads, medians over rounds.
"""

import ctypes
import gc
import os

import pytest
import torch


@pytest.fixture(scope="session")
def device():
    name = os.environ.get("PYADX_BENCH_DEVICE", "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    return torch.device(name)


def give_back_free_memory():
    """Start every measurement from the same state of the allocator, whatever ran before."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        pass  # not glibc


@pytest.fixture
def timed(benchmark, device):
    """``timed(group, name, call, rounds)``: the median of ``call`` among the others of its group."""

    def measure(group, name, call, rounds=25, iterations=1, bytes_written=None):
        def synchronised():
            result = call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            return result

        give_back_free_memory()
        benchmark.group = group
        benchmark.extra_info["name"] = name
        if bytes_written is not None:
            benchmark.extra_info["bytes_written"] = bytes_written
        return benchmark.pedantic(synchronised, rounds=rounds, iterations=iterations, warmup_rounds=3)

    return measure
