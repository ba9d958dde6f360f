"""Relevance mass by the protocol of a published benchmark on real brains, for comparison with it."""

import numpy as np
from torch import Tensor

from pyadx.evaluation.masks import bool_mask
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
    """Return the share of a map's positive values inside a region (Siegel et al., arXiv 2508.02560).

    Negative values become 0. The map is smoothed, and clipped at a percentile so that no single voxel
    dominates. The region is dilated. A map without positive values has a share of 0.

    Parameters
    ----------
    heatmap : Tensor or numpy.ndarray
        ``[D, H, W]``, finite.
    region : numpy.ndarray
        bool ``[D, H, W]``.
    spacing : float
        Voxel size in mm.
    inside : numpy.ndarray, optional
        bool ``[D, H, W]``, such as the brain: only these voxels count, for the share and the percentile.
    fwhm : float
        Full width at half maximum of the Gaussian, in mm.
    percentile : float
        Percentile at which values are clipped.
    dilation : int
        Number of voxels by which the region is dilated, across faces.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        If shapes differ, the map is not finite, or ``region`` or ``inside`` is empty.
    """
    from scipy import ndimage

    heat = plain_array("heatmap", heatmap).astype(np.float64)
    region = bool_mask("region", region, heat.shape)
    within = np.ones(heat.shape, bool) if inside is None else bool_mask("inside", inside, heat.shape)
    for name, mask in (("region", region), ("inside", within)):
        if not mask.any():
            raise ValueError(f"{name} holds no voxel")
    if not np.isfinite(heat).all():
        raise ValueError("the heatmap holds NaN or infinity")
    smooth = ndimage.gaussian_filter(heat.clip(0), fwhm / _FWHM_PER_SIGMA / spacing)
    cut = np.minimum(smooth, np.percentile(smooth[within], percentile))
    grown = ndimage.binary_dilation(region, iterations=dilation) if dilation else region
    total = float(cut[within].sum())
    return float(cut[within & grown].sum()) / total if total > 0 else 0.0
