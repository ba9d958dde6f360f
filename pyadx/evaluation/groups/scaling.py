"""How maps are made comparable before they form a group."""

import numpy as np

# Word to what methods texts and data dictionaries say of it.
NORMALISATIONS: dict[str, str] = {
    "none": "not normalised: groups compare how strongly the network's output moves, not only where",
    "sum": "divided by the sum of its absolute values inside the mask",
    "p99": "divided by the 99th percentile of its absolute values inside the mask",
}


def normalising_factor(values: np.ndarray, how: str) -> float:
    """Return what a map is divided by.

    Parameters
    ----------
    values : numpy.ndarray
        ``[V]``, the map inside the mask.
    how : {"none", "sum", "p99"}
        See `NORMALISATIONS`.

    Returns
    -------
    float
        Above 0.

    Raises
    ------
    ValueError
        If there is no such normalisation, or the map has nothing to be divided by.
    """
    if how not in NORMALISATIONS:
        raise ValueError(f"--normalise must be one of {', '.join(NORMALISATIONS)}, got {how!r}")
    if how == "none":
        return 1.0
    strength = np.abs(values.astype(np.float64, copy=False))
    factor = float(strength.sum() if how == "sum" else np.percentile(strength, 99))
    if factor > 0:
        return factor
    if strength.any():
        raise ValueError("its 99th percentile is 0: fewer than 1% of its voxels hold a value; use sum")
    raise ValueError("it is zero everywhere inside the mask and cannot be normalised")
