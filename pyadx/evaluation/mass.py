"""Relevance mass by the protocol of a benchmark on real brains, so that figures stand beside its own."""

import numpy as np
from torch import Tensor

from pyadx.ops.arrays import plain_array

_FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))


def smoothed_mass(
    heatmap: Tensor | np.ndarray,
    region: np.ndarray,
    spacing: float,
    inside: np.ndarray | None = None,
    *,
    fwhm: float = 2.0,
    percentile: float = 99.0,
    dilation: int = 2,
) -> float:
    """Return the share of a map's positive part that lies in a region (Siegel et al., arXiv 2508.02560).

    The positive part is smoothed, values above a percentile are cut down to it, so that single voxels do
    not decide, and the region is dilated. A map without a positive part has no share: 0.

    Parameters
    ----------
    heatmap : Tensor or numpy.ndarray
        ``[D, H, W]``, finite.
    region : numpy.ndarray
        bool ``[D, H, W]``.
    spacing : float
        Voxel size in mm.
    inside : numpy.ndarray, optional
        bool ``[D, H, W]``: only these voxels have mass, and count for the percentile.
    fwhm : float
        Full width at half maximum of the Gaussian, mm.
    percentile : float
        Where values are cut.
    dilation : int
        Voxels by which the region grows, over faces.

    Raises
    ------
    ValueError
        If shapes differ, the map is not finite, or the region is empty.
    """
    from scipy import ndimage

    heat = plain_array("heatmap", heatmap).astype(np.float64)
    within = np.ones(heat.shape, bool) if inside is None else inside
    for name, mask in (("region", region), ("inside", within)):
        if mask.dtype != bool or mask.shape != heat.shape:
            raise ValueError(f"{name} must be a bool mask of shape {heat.shape}, got {mask.dtype}")
        if not mask.any():
            raise ValueError(f"{name} holds no voxel")
    if not np.isfinite(heat).all():
        raise ValueError("the heatmap holds NaN or infinity")
    smooth = ndimage.gaussian_filter(heat.clip(0), fwhm / _FWHM_PER_SIGMA / spacing)
    cut = np.minimum(smooth, np.percentile(smooth[within], percentile))
    grown = ndimage.binary_dilation(region, iterations=dilation) if dilation else region
    total = float(cut[within].sum())
    return float(cut[within & grown].sum()) / total if total > 0 else 0.0
