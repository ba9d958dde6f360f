"""Intensity scaling of scans."""

import numpy as np

from pyadx.models.card import Intensity


def scale_intensity(data: np.ndarray, intensity: Intensity) -> np.ndarray:
    """Scale the intensities of a scan.

    Parameters
    ----------
    data : numpy.ndarray
        Any shape, finite.
    intensity : {"max", "zscore", "none"}
        ``max`` divides by the maximum (the paper's reference implementation). ``zscore`` subtracts the
        mean and divides by the standard deviation of the non-zero voxels, and leaves zero voxels at 0.

    Returns
    -------
    numpy.ndarray
        float32, same shape.

    Raises
    ------
    ValueError
        If the scan has no positive voxel (``max``), or its non-zero voxels are all equal (``zscore``).
    """
    if intensity == "none":
        return data.astype(np.float32)
    if intensity == "max":
        highest = float(data.max())
        if highest <= 0:
            raise ValueError("no voxel on the model's grid is positive: there is no maximum to divide by")
        return (data / highest).astype(np.float32)
    mask = data != 0
    if not mask.any() or float(data[mask].std(dtype=np.float64)) == 0:
        raise ValueError("the non-zero voxels of the scan are all equal, so they have no z-score")
    mean, std = data[mask].mean(dtype=np.float64), data[mask].std(dtype=np.float64)
    return np.where(mask, (data - mean) / std, 0.0).astype(np.float32)
