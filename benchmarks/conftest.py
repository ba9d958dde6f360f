"""Fixtures of all benchmarks: the device, and the timing of a call within a group of peers.

``PYADX_BENCH_DEVICE=cuda`` runs all of them on a GPU. ``run.py`` computes ratios within a group: same
process, same input, same number of threads, medians over rounds.
"""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device():
    name = os.environ.get("PYADX_BENCH_DEVICE", "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    return torch.device(name)


@pytest.fixture
def timed(benchmark, device):
    """``timed(group, name, call)``: times ``call`` as one of a group.

    ``peers`` are all calls of the group. Each runs once, untimed, before every timed round, so that caches
    and the memory allocator are in the same state for every member of the group. A round consists of
    ``calls`` calls, for calls that are too short to time. A call that handles several ``items`` is reported
    per item.
    """

    def measure(group, name, call, *, peers=(), rounds=25, calls=1, items=1, bytes_written=None):
        def finish():
            if device.type == "cuda":
                torch.cuda.synchronize()

        def round_of_calls():
            for _ in range(calls - 1):
                call()
            result = call()
            finish()
            return result

        def mix():
            for peer in peers:
                peer()
            finish()

        benchmark.group = group
        benchmark.extra_info.update(name=name, calls=calls * items)
        if bytes_written is not None:
            benchmark.extra_info["bytes_written"] = bytes_written
        return benchmark.pedantic(
            round_of_calls,
            setup=mix if peers else None,
            rounds=rounds,
            iterations=1,
            warmup_rounds=min(3, rounds // 2),
        )

    return measure
