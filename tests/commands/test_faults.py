"""The machine fails: disk full, memory short. Nothing is half-written, and one line says what happened."""

import resource
import shutil
import subprocess
import sys

import pytest

from pyadx import models
from pyadx.models import Preprocessing

pytest.importorskip("nibabel")

_MEMORY = 1_150_000_000  # bytes of address space: torch starts, and the forward of 110^3 does not fit


def explain(folder, out, *options, memory=None):
    command = [
        sys.executable, "-m", "pyadx", "explain", "scan.nii.gz", "-o", str(out), "-q", "--model",
        "resnet-gap.safetensors", *options,
    ]  # fmt: skip

    def limit():
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    return subprocess.run(command, cwd=folder, capture_output=True, text=True, preexec_fn=limit)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing(here, small_disk):
    old = small_disk / "heat.nii.gz"
    done = explain(here, old, "--method", "cam")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(small_disk.iterdir()) == []


def test_memory_that_runs_out_is_told_in_one_line(here):
    large = models.build("resnet-gap", (110, 110, 110), preprocessing=Preprocessing("max", 2.0), seed=0)
    models.save(large, here / "large.safetensors")
    small = ["--method", "cam"]
    model = ["--model", "large.safetensors", *small]
    done = explain(here, "heat.nii.gz", *model, memory=_MEMORY)
    if "Traceback" in done.stderr and explain(here, "small.nii.gz", *small, memory=_MEMORY).returncode != 0:
        pytest.skip("not even a small network fits into so little memory here")
    assert done.returncode == 1
    assert "out of memory" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(here.glob("heat*"))
