"""How many threads the native core takes."""

from pyadx.cores import usable_cores


def thread_count(threads: int | None) -> int:
    """Return a number of threads; ``None`` takes what the process may use.

    Raises
    ------
    ValueError
        If the number is not positive.
    """
    if threads is None:
        return usable_cores()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be a positive integer, got {threads!r}")
    return threads
