"""Intensity scaling of scans."""

import numpy as np

from pyadx.models.card import Intensity


def scale_intensity(data: np.ndarray, intensity: Intensity, like: np.ndarray | None = None) -> np.ndarray:
    """Scale the intensities of a scan.

    Parameters
    ----------
    data : numpy.ndarray
        Any shape, finite.
    intensity : {"max", "zscore", "none"}
        ``max`` divides by the maximum (the paper's reference implementation). ``zscore`` subtracts the
        mean and divides by the standard deviation of the non-zero voxels, and leaves zero voxels at 0.
    like : numpy.ndarray, optional
        A scan whose maximum, or mean and deviation, are taken instead of its own: what is compared with
        that scan voxel by voxel must be scaled by the same numbers.

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
    given = data if like is None else like
    if intensity == "max":
        highest = float(given.max())
        if highest <= 0:
            raise ValueError("no voxel on the model's grid is positive: there is no maximum to divide by")
        return (data / highest).astype(np.float32)
    tissue = given[given != 0]
    if not tissue.size or float(tissue.std(dtype=np.float64)) == 0:
        raise ValueError("the non-zero voxels of the scan are all equal, so they have no z-score")
    mean, std = tissue.mean(dtype=np.float64), tissue.std(dtype=np.float64)
    return np.where(data != 0, (data - mean) / std, 0.0).astype(np.float32)
