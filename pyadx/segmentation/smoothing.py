"""From a volume to what is segmented: scaled, smoothed, and in whole numbers."""

from dataclasses import dataclass

import numpy as np

QUANTA = 65535  # whole numbers make all later sums independent of their order
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A volume cut to its mask.

    Attributes
    ----------
    intensity : ndarray
        float32 ``[d, h, w]``: 0 to 1 inside the mask, 0 outside.
    mask : ndarray
        uint8 ``[d, h, w]``.
    spacing : tuple of float
        Voxel size relative to the smallest one.
    box : tuple of slice
        Where it was cut from.
    """

    intensity: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]
    box: tuple[slice, slice, slice]


def prepare(
    volume: np.ndarray, mask: np.ndarray, spacing: tuple[float, float, float], smoothing: float
) -> Prepared:
    """Cut, scale between percentiles, and smooth within the mask.

    Parameters
    ----------
    volume, mask : ndarray
        ``[D, H, W]``.
    spacing : tuple of float
        Voxel size, mm.
    smoothing : float
        Standard deviation of the Gaussian, in units of the smallest voxel size.

    Raises
    ------
    ValueError
        If all voxels inside have the same value.
    """
    from scipy import ndimage

    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inside = np.ascontiguousarray(mask[box])
    values = volume[box].astype(np.float32)
    low, high = np.percentile(values[inside], _PERCENTILES)
    if low == high:
        low, high = values[inside].min(), values[inside].max()
    if low == high:
        raise ValueError(f"volume is constant inside the mask ({low:g}): there is nothing to segment")
    scaled = np.where(inside, np.clip((values - low) / (high - low), 0, 1), 0).astype(np.float32)
    smallest = min(spacing)
    relative = (spacing[0] / smallest, spacing[1] / smallest, spacing[2] / smallest)
    if smoothing > 0:
        sigma = [smoothing / step for step in relative]
        # Normalised convolution: nothing from outside the mask leaks in.
        weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="constant")
        blurred = ndimage.gaussian_filter(scaled, sigma, mode="constant")
        scaled = np.where(inside, blurred / np.maximum(weight, 1e-6), 0).astype(np.float32)
    return Prepared(scaled, inside.astype(np.uint8), relative, box)


def quantise(values: np.ndarray) -> np.ndarray:
    """Return values from 0 to 1 as uint16."""
    return np.round(np.clip(values, 0, 1) * np.float32(QUANTA)).astype(np.uint16)
