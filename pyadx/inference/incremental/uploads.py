"""Small arrays of a batch, brought to the device of a scan in one copy."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def on_device(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Return int32 arrays as tensors on a device.

    A GPU gets all of them in one copy from pinned memory, which the host does not wait for: dozens of
    copies from pageable memory take longer than the kernels that read them. The tensors share memory then.

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
    """Return the parts of a tensor in the shapes of arrays."""
    parts = flat.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
