"""Process many items in batches that fit into memory."""

import warnings
from collections.abc import Callable
from typing import Literal

import torch

from pyadx.ops.numbers import whole_number

BatchSize = int | Literal["auto"]

# Batch size that "auto" starts with; it is halved when memory runs out. On the CPU, larger batches are no
# faster: they no longer fit into the cache.
_AUTO = {"cpu": 2, "cuda": 64}


def check_batch_size(batch_size: BatchSize) -> BatchSize:
    """Return ``batch_size`` as ``"auto"`` or a positive ``int``; raise ``ValueError`` if it is neither."""
    if isinstance(batch_size, str) and batch_size == "auto":
        return batch_size
    number = whole_number(batch_size)
    if number is None or number < 1:
        raise ValueError(f"batch_size must be 'auto' or a positive integer, got {batch_size!r}")
    return number


def first_batch(batch_size: BatchSize, device: torch.device) -> int:
    """Return the batch size to start with on a device."""
    return _AUTO.get(device.type, 8) if batch_size == "auto" else batch_size


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that device or main memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def in_batches(
    items: int,
    batch_size: BatchSize,
    device: torch.device,
    run: Callable[[int, int], None],
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Call ``run(start, stop)`` over ``range(items)``, with smaller batches if memory runs out.

    Parameters
    ----------
    items : int
        Number of items.
    batch_size : int or "auto"
        Largest batch. If a batch does not fit, the size is halved for the remaining items, with a warning.
    device : torch.device
        The device that does the work.
    run : callable
        Processes one batch. It is called again for the same items after it ran out of memory.
    advance : callable
        Called with the number of items just done, for progress bars.

    Returns
    -------
    int
        Batch size for the next call: the last size used, smaller than the first if memory ran out. A caller
        that starts with it does not fail at the same size again.

    Raises
    ------
    torch.OutOfMemoryError or RuntimeError
        If even a single item does not fit.
    """
    size = first_batch(batch_size, device)
    start = 0
    while start < items:
        stop = min(items, start + size)
        try:
            run(start, stop)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or stop - start == 1:
                raise
            size = max(1, (stop - start) // 2)
        else:
            advance(stop - start)
            start = stop
            continue
        # Done outside the except block, where the failed batch's tensors are no longer referenced.
        if device.type == "cuda":
            torch.cuda.empty_cache()
        warnings.warn(
            f"out of memory with a batch of {stop - start}: continuing with batches of {size}", stacklevel=2
        )
    return size
