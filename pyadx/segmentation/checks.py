"""Checks of the arguments of a segmentation, before any work starts."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyadx.ops.arrays import plain_array
from pyadx.ops.numbers import real_number, values_of

_MAX_VOXELS = 2**31 - 1


def as_volume(volume: Any, name: str = "volume") -> np.ndarray:
    """Return a volume as a three-dimensional array.

    Parameters
    ----------
    volume : array or Tensor
        ``[D, H, W]``; leading axes of length one are dropped.
    name : str
        Name of the argument for error messages.

    Raises
    ------
    TypeError, ValueError
        If it is not one volume of real numbers, has fewer than two voxels along an axis or 2^31 or more
        in total, or holds NaN or infinity.
    """
    array = plain_array(name, volume)
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3:
        raise ValueError(f"{name} must have shape [D, H, W], got {np.shape(volume)}")
    if array.size > _MAX_VOXELS:
        raise ValueError(f"{name} has {array.size:,} voxels; 2^31 and more are not supported")
    if min(array.shape) < 2:
        raise ValueError(f"{name} must have at least two voxels along every axis, got {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; replace them first")
    return array


def as_mask(mask: Any, volume: np.ndarray) -> np.ndarray:
    """Return a mask as bool ``[D, H, W]``.

    Parameters
    ----------
    mask : array, Tensor or None
        ``[D, H, W]``, not zero inside. ``None`` means the non-zero voxels of the volume, or all voxels if
        every one is zero.
    volume : ndarray
        ``[D, H, W]``.

    Raises
    ------
    TypeError, ValueError
        If the mask does not hold finite real numbers, its shape differs from the volume's, or no voxel is
        inside.
    """
    if mask is None:
        inside = volume != 0
        return inside if inside.any() else np.ones(volume.shape, bool)
    inside = as_volume(mask, "mask") != 0
    if inside.shape != volume.shape:
        raise ValueError(f"mask has shape {inside.shape}, expected that of the volume, {volume.shape}")
    if not inside.any():
        raise ValueError("mask is empty: all its voxels are 0")
    return inside


def as_spacing(spacing: float | Sequence[float] | None) -> tuple[float, float, float]:
    """Return the voxel size along each axis, mm; ``None`` means 1.

    Raises
    ------
    ValueError
        If it is not one or three positive finite numbers.
    """
    given = 1.0 if spacing is None else spacing
    entries = values_of(given)
    # What is no number becomes 0, which is refused, too.
    sizes = [real_number(size) or 0.0 for size in ([given] if entries is None else entries)]
    sizes = sizes * 3 if len(sizes) == 1 else sizes
    if len(sizes) != 3 or not all(0 < size < np.inf for size in sizes):
        raise ValueError(f"spacing must be one or three positive numbers in mm, got {spacing!r}")
    return sizes[0], sizes[1], sizes[2]


def check_device(device: str) -> None:
    """Raise ``ValueError`` unless ``device`` is ``cpu``, or ``cuda[:N]`` where torch sees a GPU."""
    if device == "cpu":
        return
    import torch

    match = re.fullmatch(r"cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if match is None:
        raise ValueError(f"device {device!r}: it must be cpu, cuda or cuda:N")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(match[1] or 0) >= found:
        seen = f"{found} CUDA GPU{'s' * (found > 1)}, numbered from 0" if found else "no CUDA GPU"
        raise ValueError(f"device {device!r}: torch sees {seen} here")
