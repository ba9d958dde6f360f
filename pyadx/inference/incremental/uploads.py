"""Copies the small arrays of a batch to the device of the scan, all at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def on_device(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Return int32 arrays as tensors on a device.

    A GPU gets all of them in one asynchronous copy from pinned memory, because dozens of copies from
    pageable memory would take longer than the kernels that read them. The tensors are then views of one
    buffer.

    Raises
    ------
    TypeError
        If an array is not int32.
    """
    for array in arrays:
        if array.dtype != np.int32:
            raise TypeError(f"boxes and tables must be int32, got {array.dtype}")
    if device.type == "cpu":
        return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    flat = flattened(arrays)
    if device.type == "cuda":
        flat = flat.pin_memory()
    return split_like(flat.to(device, non_blocking=True), arrays)


def flattened(arrays: Sequence[np.ndarray]) -> Tensor:
    """Return the elements of all arrays in one tensor, one array after the other."""
    return torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))


def split_like(flat: Tensor, arrays: Sequence[np.ndarray]) -> list[Tensor]:
    """Split a flat tensor into views with the shapes of the arrays that it was made from."""
    parts = flat.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
