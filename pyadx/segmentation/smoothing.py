"""Prepare a volume for segmentation: crop, scale, smooth, and quantise it."""

from dataclasses import dataclass

import numpy as np

QUANTA = 65535  # the value of 1.0; sums of whole numbers do not depend on their order
_PERCENTILES = (0.5, 99.5)  # of the intensities inside the mask; they become 0 and 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """A volume cropped to the bounding box of its mask.

    Attributes
    ----------
    intensity : ndarray
        float32 ``[d, h, w]``: 0 to 1 inside the mask, 0 outside.
    mask : ndarray
        uint8 ``[d, h, w]``: 1 inside.
    spacing : tuple of float
        Voxel size along each axis, relative to the smallest one.
    box : tuple of slice
        Position of the bounding box in the volume.
    """

    intensity: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]
    box: tuple[slice, slice, slice]


def prepare(
    volume: np.ndarray, mask: np.ndarray, spacing: tuple[float, float, float], smoothing: float
) -> Prepared:
    """Crop a volume to its mask, scale it between percentiles, and smooth it within the mask.

    Parameters
    ----------
    volume : ndarray
        ``[D, H, W]``.
    mask : ndarray
        bool ``[D, H, W]``: true inside, for one voxel at least.
    spacing : tuple of float
        Voxel size along each axis, mm.
    smoothing : float
        Standard deviation of the Gaussian, in units of the smallest voxel size; 0 for none.

    Returns
    -------
    Prepared
        The percentiles 0.5 and 99.5 of the voxels inside become 0 and 1; values beyond them are clipped.
        If these percentiles are equal, the minimum and maximum are used instead.

    Raises
    ------
    ValueError
        If all voxels inside the mask have the same value.
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
        # Dividing by the smoothed mask keeps the zeros outside from darkening the border.
        weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="constant")
        blurred = ndimage.gaussian_filter(scaled, sigma, mode="constant")
        scaled = np.where(inside, blurred / np.maximum(weight, 1e-6), 0).astype(np.float32)
    return Prepared(scaled, inside.astype(np.uint8), relative, box)


def quantise(values: np.ndarray) -> np.ndarray:
    """Return values from 0 to 1 as uint16 from 0 to `QUANTA`; values beyond are clipped."""
    return np.round(np.clip(values, 0, 1) * np.float32(QUANTA)).astype(np.uint16)
