"""Make a hierarchy from a list of merges, or from a file, and choose its levels."""

import os
from pathlib import Path

import numpy as np

from pyadx import _ucm
from pyadx.segmentation.hierarchy import Hierarchy
from pyadx.segmentation.storage import read_arrays


def make_hierarchy(
    regions: np.ndarray, merges: np.ndarray, altitudes: np.ndarray, sizes: np.ndarray, levels: np.ndarray
) -> Hierarchy:
    """Make a hierarchy, renumbering its leaves in depth-first order.

    Parameters
    ----------
    regions : ndarray
        int32 ``[D, H, W]``: 0 to R - 1, and -1 outside the mask.
    merges : ndarray
        int32 ``[R - 1, 2]``: row k has the two nodes that merge into node ``R + k``.
    altitudes : ndarray
        float64 ``[R - 1]``, never falling.
    sizes : ndarray
        int64 ``[R]``: voxels of each region.
    levels : ndarray
        Number of regions of each level, finest first.

    Raises
    ------
    ValueError
        If the merges are not those of a single tree.
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


def load(path: str | os.PathLike[str]) -> Hierarchy:
    """Read a hierarchy that `Hierarchy.save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : path
        The ``.npz`` file.

    Returns
    -------
    Hierarchy
        As it was saved.

    Raises
    ------
    ValueError
        If the file is missing, is not a hierarchy, or its arrays contradict each other.
    """
    source, found = Path(path), read_arrays(path)
    count = (len(found["parent"]) + 1) // 2
    leaves, parent = found["leaves"], found["parent"].astype(np.int32)
    areas = np.bincount(leaves.reshape(-1).clip(0), minlength=count + 1)[1:].astype(np.int64)
    children = np.argsort(parent[:-1], kind="stable").reshape(-1, 2).astype(np.int32)
    consistent = (
        leaves.min() >= 0
        and leaves.max() == count
        and len(parent) == len(found["altitude"]) == len(found["area"]) == 2 * count - 1
        and np.array_equal(np.sort(parent[:-1]), np.repeat(np.arange(count, 2 * count - 1), 2))
        and found["altitude"].dtype == np.float64
        and (found["altitude"][count:][1:] >= found["altitude"][count:][:-1]).all()
        and len(found["levels"]) > 0
        and (areas > 0).all()
    )
    if not consistent:
        raise ValueError(f"{source}: cannot be read as a hierarchy (its arrays contradict each other)")
    try:
        regions = (leaves - 1).astype(np.int32)
        return make_hierarchy(regions, children, found["altitude"][count:], areas, found["levels"])
    except ValueError as error:
        raise ValueError(f"{source}: cannot be read as a hierarchy ({error})") from None


def geometric_levels(regions: int, max_regions: int, max_levels: int) -> np.ndarray:
    """Return numbers of regions in geometric steps from ``max_regions`` down to 2, at most ``max_levels``.

    With fewer than ``max_regions`` leaves (``regions``), they start from the number of leaves.
    """
    most = min(regions, max_regions)
    if most <= 2:
        return np.array([most])
    return np.unique(np.round(np.geomspace(most, 2, max_levels)).astype(np.int64))[::-1]


def altitude_levels(altitudes: np.ndarray, max_regions: int, max_levels: int) -> np.ndarray:
    """Return the number of regions at each altitude, finest first, as `linkage="gbh"` needs it.

    Its altitudes are numbers of its own levels. Levels with one region, or more than ``max_regions``, are
    left out, and so are the coarsest ones beyond ``max_levels``. If none is left, the levels are geometric.
    """
    finite = np.unique(altitudes[np.isfinite(altitudes)])
    counts = 1 + len(altitudes) - np.searchsorted(altitudes, finite, "right")
    levels = counts[(counts <= max_regions) & (counts > 1)]
    if len(levels) == 0:
        return geometric_levels(len(altitudes) + 1, max_regions, max_levels)
    return levels[:max_levels]
