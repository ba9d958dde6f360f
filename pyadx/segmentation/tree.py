"""From merges to a hierarchy."""

import numpy as np

from pyadx import _ucm
from pyadx.segmentation.hierarchy import Hierarchy


def make_hierarchy(
    regions: np.ndarray, merges: np.ndarray, altitudes: np.ndarray, sizes: np.ndarray, levels: np.ndarray
) -> Hierarchy:
    """Make a hierarchy, with leaves in depth-first order.

    Parameters
    ----------
    regions : ndarray
        int32 ``[D, H, W]``: 0 to R - 1, and -1 outside the mask.
    merges : ndarray
        int32 ``[R - 1, 2]``: the nodes that become node ``R + k``.
    altitudes : ndarray
        float64 ``[R - 1]``, never falling.
    sizes : ndarray
        int64 ``[R]``: voxels of each region.
    levels : ndarray
        Number of regions of each level.
    """
    tree = _ucm.depth_first(merges, altitudes, sizes)
    leaf = np.concatenate([[0], tree["position"] + 1]).astype(np.int32)
    return Hierarchy(
        leaf[regions + 1],
        tree["parent"],
        tree["altitude"],
        tree["area"],
        np.asarray(levels, np.int64),
        tree["first"],
        tree["last"],
    )


def geometric_levels(regions: int, max_regions: int, max_levels: int) -> np.ndarray:
    """Return at most ``max_levels`` numbers of regions, from ``max_regions`` down to 2."""
    most = min(regions, max_regions)
    if most <= 2:
        return np.array([most])
    return np.unique(np.round(np.geomspace(most, 2, max_levels)).astype(np.int64))[::-1]


def altitude_levels(altitudes: np.ndarray, max_regions: int, max_levels: int) -> np.ndarray:
    """Return the numbers of regions at the altitudes that merges have in common."""
    finite = np.unique(altitudes[np.isfinite(altitudes)])
    counts = 1 + len(altitudes) - np.searchsorted(altitudes, finite, "right")
    levels = counts[(counts <= max_regions) & (counts > 1)]
    if len(levels) == 0:
        return geometric_levels(len(altitudes) + 1, max_regions, max_levels)
    return levels[:max_levels]
