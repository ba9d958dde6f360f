"""Checks of masks that are passed to evaluations."""

from typing import Any

import numpy as np

from pyadx.ops.arrays import plain_array


def bool_mask(name: str, mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array or tensor as a bool array of the given shape.

    Raises
    ------
    TypeError, ValueError
        If it is no array, holds other values than bool, or has another shape.
    """
    found = plain_array(name, mask)
    if found.dtype != bool or found.shape != shape:
        raise ValueError(f"{name} must be a bool mask of shape {shape}, got {found.dtype} {found.shape}")
    return found
