"""Normalisation of maps before group statistics."""

import numpy as np

# Option to its wording in methods texts and data dictionaries.
NORMALISATIONS: dict[str, str] = {
    "none": "not normalised: groups may differ in how much the network's output changes, not only in where",
    "sum": "divided by the sum of its absolute values inside the mask",
    "p99": "divided by the 99th percentile of its absolute values inside the mask",
}


def normalising_factor(values: np.ndarray, how: str) -> float:
    """Return the divisor that normalises a map.

    Parameters
    ----------
    values : numpy.ndarray
        ``[V]``, the map inside the mask.
    how : {"none", "sum", "p99"}
        1, the sum of absolute values, or the 99th percentile of absolute values; see `NORMALISATIONS`.

    Returns
    -------
    float
        Positive divisor.

    Raises
    ------
    ValueError
        If ``how`` is unknown, or the divisor would be 0.
    """
    if how not in NORMALISATIONS:
        raise ValueError(f"how must be one of {', '.join(NORMALISATIONS)}, got {how!r}")
    if how == "none":
        return 1.0
    strength = np.abs(values.astype(np.float64, copy=False))
    factor = float(strength.sum() if how == "sum" else np.percentile(strength, 99))
    if factor > 0:
        return factor
    if strength.any():
        raise ValueError(
            "its 99th percentile is 0, because fewer than 1% of its voxels are non-zero; normalise by sum"
        )
    raise ValueError("it is zero everywhere inside the mask, so it cannot be normalised")
