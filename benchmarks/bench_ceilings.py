"""What can this machine do at most? Two ceilings to compare all other figures with.

Copying memory (bytes read and written), and a large matrix product (in float32, and on CUDA in TF32).
"""

import os

import pytest
import torch

QUICK = bool(os.environ.get("PYADX_BENCH_QUICK"))


def test_copy(device, timed, benchmark):
    count = (1 << 28) if device.type == "cuda" and not QUICK else (1 << 24)
    source = torch.zeros(count, dtype=torch.float32, device=device)
    out = torch.empty_like(source)
    timed("ceiling: copy", "copy_", lambda: out.copy_(source), rounds=15)
    rate = 2 * source.nbytes / benchmark.stats.stats.median / 1e9
    benchmark.extra_info["facts"] = {"gb_per_s": rate, "note": f"{rate:,.0f} GB/s read and written"}


@pytest.mark.parametrize("kind", ["float32", "tf32"])
def test_matrix_product(kind, device, timed, benchmark):
    if kind == "tf32" and device.type != "cuda":
        pytest.skip("TF32 is for CUDA")
    size = 8192 if device.type == "cuda" and not QUICK else 1024
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    out = torch.empty_like(a)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    try:
        timed(f"ceiling: matrix product, {kind}", "matmul", lambda: torch.matmul(a, b, out=out), rounds=9)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    rate = 2 * size**3 / benchmark.stats.stats.median / 1e12
    benchmark.extra_info["facts"] = {"tflop_per_s": rate, "note": f"{rate:,.2f} TFLOP/s"}
