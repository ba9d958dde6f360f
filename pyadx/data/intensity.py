"""Intensity scaling of scans."""

import numpy as np

from pyadx.models.card import Intensity, Preprocessing


def scale_intensity(
    data: np.ndarray, how: Intensity | Preprocessing, like: np.ndarray | None = None
) -> np.ndarray:
    """Scale the intensities of a scan.

    Parameters
    ----------
    data : numpy.ndarray
        Any shape, finite.
    how : Preprocessing, or str
        Preprocessing, or only its ``intensity``. ``max`` divides by the maximum (the paper's reference
        implementation). ``zscore`` subtracts the mean and divides by the standard deviation of the non-zero
        voxels, and leaves zero voxels at 0. ``percentiles`` and ``fixed`` are as in `Preprocessing`.
    like : numpy.ndarray, optional
        Scan whose maximum, mean and deviation, or percentiles are used instead. Scans that are compared
        voxel by voxel must be scaled by the same statistics.

    Returns
    -------
    numpy.ndarray
        float32, same shape.

    Raises
    ------
    ValueError
        If the scan has no positive voxel (``max``), its non-zero voxels are all equal (``zscore``), or both
        percentiles are equal (``percentiles``).
    """
    chosen = how if isinstance(how, Preprocessing) else Preprocessing(how)
    intensity = chosen.intensity
    if intensity == "none":
        return data.astype(np.float32)
    if intensity == "fixed":
        assert chosen.mean is not None
        assert chosen.std is not None
        return ((data - chosen.mean) / chosen.std).astype(np.float32)
    given = data if like is None else like
    if intensity == "max":
        highest = float(given.max())
        if highest <= 0:
            raise ValueError("no voxel on the model's grid is positive: there is no maximum to divide by")
        return (data / highest).astype(np.float32)
    if intensity == "percentiles":
        low, high = np.percentile(given, chosen.percentiles)
        if not high > low:
            raise ValueError(
                f"percentiles {chosen.percentiles[0]:g} and {chosen.percentiles[1]:g} of the scan on the "
                f"model's grid are both {low:g}: there is no range to scale by"
            )
        return np.clip((data - low) / (high - low), 0, 1).astype(np.float32)
    tissue = given[given != 0]
    if not tissue.size or float(tissue.std(dtype=np.float64)) == 0:
        raise ValueError("the non-zero voxels of the scan are all equal, so they have no z-score")
    mean, std = tissue.mean(dtype=np.float64), tissue.std(dtype=np.float64)
    return np.where(data != 0, (data - mean) / std, 0.0).astype(np.float32)
