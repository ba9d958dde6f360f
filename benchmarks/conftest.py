"""What every benchmark shares: the device, how a call is timed, and the group its peers are in.

``PYADX_BENCH_DEVICE=cuda`` moves all of them to a GPU. Ratios are formed by ``run.py`` inside a group:
same process, same input, same number of threads, medians over rounds.
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
    """``timed(group, name, call)``: the median time of ``call``, among the others of its group.

    ``peers`` are all calls of the group: each runs once, untimed, before every timed round, so that
    caches and the memory allocator are in the same state for every member of the group, whatever ran
    before. ``calls`` calls make one round where one is too short for a clock; a call that does several
    ``items`` is reported per item.
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
