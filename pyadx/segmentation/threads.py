"""Number of threads of the native core."""

from pyadx.cores import usable_cores
from pyadx.ops.numbers import whole_number


def thread_count(threads: int | None) -> int:
    """Return the number of threads to use.

    Parameters
    ----------
    threads : int or None
        ``None`` means all cores that the process may use.

    Raises
    ------
    ValueError
        If it is not a positive integer.
    """
    if threads is None:
        return usable_cores()
    number = whole_number(threads)
    if number is None or number < 1:
        raise ValueError(f"threads must be a positive integer, got {threads!r}")
    return number
