"""Return freed memory to the system, so that a process that runs for days does not grow."""

import ctypes
from contextlib import suppress


def return_freed_memory() -> None:
    """Return freed memory to the system.

    Volumes and feature maps of many sizes fragment glibc's heap: over 300 scans a process grew by a
    third. Taking the pages again costs 0.04 s in a Grad-CAM of 0.5 s. On systems without glibc nothing
    is done.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
