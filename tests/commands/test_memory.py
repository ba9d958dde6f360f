"""Freed memory goes back to the system."""

import platform
from pathlib import Path

import pytest
import torch

from pyadx.commands.cohorts.freed_memory import return_freed_memory


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to")
def test_holes_in_the_heap_are_returned():
    pages = 4096
    # Each block is too small for a mapping of its own.
    blocks = [torch.ones(100_000, dtype=torch.uint8) for _ in range(pages)]
    kept = blocks[::64]
    held = resident()
    del blocks
    return_freed_memory()
    assert held - resident() > 0.8 * pages * 100_000 / 4096
    assert len(kept) == 64
