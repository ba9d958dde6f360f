"""How many threads the native core takes."""

from pyadx.cores import usable_cores
from pyadx.ops.numbers import whole_number


def thread_count(threads: int | None) -> int:
    """Return a number of threads; ``None`` takes what the process may use.

    Raises
    ------
    ValueError
        If the number is not positive.
    """
    if threads is None:
        return usable_cores()
    number = whole_number(threads)
    if number is None or number < 1:
        raise ValueError(f"threads must be a positive integer, got {threads!r}")
    return number
