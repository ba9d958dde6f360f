"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """Return how many cores the operating system lets this process use (e.g. a batch job's share)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
