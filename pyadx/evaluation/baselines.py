"""Maps that know nothing of the network: whatever explains it must beat them."""

import numpy as np
from torch import Tensor

from pyadx.ops.arrays import plain_array


def random_map(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return uniform noise, float32 of the shape, from 0 to 1; the same for the same seed."""
    return np.random.default_rng(seed).random(shape, np.float32)


def edge_map(scan: Tensor | np.ndarray, width: float = 1.0) -> np.ndarray:
    """Return the edges of a scan: the magnitude of its gradient (popular explainers have lost to it).

    Parameters
    ----------
    scan : Tensor or numpy.ndarray
        ``[D, H, W]``.
    width : float
        Standard deviation of the Gaussian, voxels.

    Returns
    -------
    numpy.ndarray
        float32 ``[D, H, W]``.

    Raises
    ------
    ValueError
        If it has not three axes, or ``width`` is not positive.
    """
    from scipy import ndimage

    data = plain_array("scan", scan).astype(np.float64)
    if data.ndim != 3:
        raise ValueError(f"scan must have shape [D,H,W], got {data.shape}")
    if not width > 0:
        raise ValueError(f"width must be a positive number of voxels, got {width!r}")
    edges: np.ndarray = ndimage.gaussian_gradient_magnitude(data, width)
    return edges.astype(np.float32)
