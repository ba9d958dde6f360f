"""Baseline maps that ignore the network. A useful explanation must score better than these."""

import numpy as np
from torch import Tensor

from pyadx.ops.arrays import plain_array


def random_map(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return uniform noise, reproducible for each seed.

    Parameters
    ----------
    shape : tuple of int
        Shape of the map.
    seed : int
        Seed of the random generator.

    Returns
    -------
    numpy.ndarray
        float32 of this shape, values in [0, 1).
    """
    return np.random.default_rng(seed).random(shape, np.float32)


def edge_map(scan: Tensor | np.ndarray, width: float = 1.0) -> np.ndarray:
    """Return the edges of a scan: the magnitude of its Gaussian-smoothed gradient.

    Some popular explanation methods score worse than this map.

    Parameters
    ----------
    scan : Tensor or numpy.ndarray
        ``[D, H, W]``.
    width : float
        Standard deviation of the Gaussian in voxels.

    Returns
    -------
    numpy.ndarray
        float32 ``[D, H, W]``.

    Raises
    ------
    ValueError
        If the scan does not have three axes, or ``width`` is not positive.
    TypeError
        If the scan does not hold real numbers.
    """
    from scipy import ndimage

    data = plain_array("scan", scan).astype(np.float64)
    if data.ndim != 3:
        raise ValueError(f"scan must have shape [D,H,W], got {data.shape}")
    if not width > 0:
        raise ValueError(f"width must be a positive number of voxels, got {width!r}")
    edges: np.ndarray = ndimage.gaussian_gradient_magnitude(data, width)
    return edges.astype(np.float32)
