"""The bytes of a heatmap do not depend on how many threads computed it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands_support import save_small_network

nib = pytest.importorskip("nibabel")


def on_intel():
    cpus = Path("/proc/cpuinfo")
    return cpus.is_file() and "GenuineIntel" in cpus.read_text()


@pytest.mark.skipif(not on_intel(), reason="MKL promises this for Intel's processors only")
@pytest.mark.parametrize("method", ["gradcam", "sa3ducm"])
def test_any_number_of_threads_gives_the_same_bytes(method, tmp_path):
    save_small_network(tmp_path / "net.safetensors")
    scan = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    nib.save(nib.Nifti1Image(scan, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "scan.nii.gz")
    found = set()
    for threads in ("1", "2", "3"):
        heat = tmp_path / f"{threads}.nii.gz"
        subprocess.run(
            [
                sys.executable, "-m", "pyadx", "explain", "scan.nii.gz", "--model", "net.safetensors",
                "--method", method, "-q", "-o", heat.name,
            ],
            cwd=tmp_path,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        )  # fmt: skip
        found.add(heat.read_bytes())
    assert len(found) == 1
