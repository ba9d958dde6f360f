"""Segments of a hierarchy: the map of their scores, where a scan is segmented, and groups of segments."""

from typing import Any, Literal

import numpy as np
from torch import Tensor

from pyadx.inference.background import brain_mask
from pyadx.ops.arrays import plain_array
from pyadx.segmentation import Hierarchy

Aggregate = Literal["mean", "max"]


def paint(hierarchy: Hierarchy, scores: np.ndarray, aggregate: Aggregate = "mean") -> np.ndarray:
    """Turn the scores of segments into a map: every voxel combines the scores of its segments.

    Parameters
    ----------
    hierarchy : Hierarchy
        The segments.
    scores : ndarray
        ``[N]``, one for each of ``hierarchy.regions``.
    aggregate : {"mean", "max"}
        How a voxel's scores on the levels are combined. ``max`` keeps the one of largest absolute value.

    Returns
    -------
    ndarray
        float32 ``[D, H, W]``; 0 outside the hierarchy.
    """
    regions = hierarchy.regions
    if aggregate == "max":
        of_leaf = np.zeros(hierarchy.n_leaves + 1)
        for (low, high), score in zip(regions, scores, strict=True):
            own = of_leaf[low:high]
            own[abs(own) < abs(score)] = score
    else:
        steps = np.zeros(hierarchy.n_leaves + 2)
        weighted = scores * hierarchy.levels_per_region / len(hierarchy.levels)
        np.add.at(steps, regions[:, 0], weighted)
        np.subtract.at(steps, regions[:, 1], weighted)
        of_leaf = np.cumsum(steps)[:-1]
    return of_leaf.astype(np.float32)[hierarchy.leaves]


def segmented_part(scan: Tensor, inside: np.ndarray | None) -> np.ndarray:
    """Return where a scan is segmented: voxels that are not background in at least one channel.

    Parameters
    ----------
    scan : Tensor
        ``[C, D, H, W]``.
    inside : ndarray, optional
        Region of interest, bool ``[D, H, W]``.

    Returns
    -------
    ndarray
        bool ``[D, H, W]``.

    Raises
    ------
    ValueError
        If there is no such voxel.
    """
    brain = brain_mask(scan).cpu().numpy()
    found: np.ndarray = brain if inside is None else inside & brain
    if not found.any():
        what = "is 0 everywhere" if inside is None else "holds only background inside the mask"
        raise ValueError(f"the scan {what}: there is nothing to segment")
    return found


def hierarchies_per_scan(hierarchy: Any, volume: Tensor) -> list[Hierarchy | None]:
    """Return the hierarchy of each scan of a batch, or None where there is none.

    Raises
    ------
    TypeError, ValueError
        If their number is not that of the scans, or one is not a hierarchy of the scan's shape.
    """
    scans = volume.shape[0]
    if hierarchy is None or isinstance(hierarchy, Hierarchy):
        trees: list[Hierarchy | None] = [hierarchy] * scans
    else:
        trees = list(hierarchy)
    if len(trees) != scans:
        raise ValueError(
            f"got {len(trees)} hierarchies for {scans} scans; give one for all, or one per scan"
        )
    for tree in trees:
        if tree is not None and not isinstance(tree, Hierarchy):
            raise TypeError(
                f"hierarchy must be a pyadx.segmentation.Hierarchy, got {type(tree).__name__}; "
                "pyadx.segmentation.from_labels makes one from label volumes"
            )
        if tree is not None:
            check_fits(tree, tuple(volume.shape[2:]))
    return trees


def check_fits(tree: Hierarchy, shape: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless a hierarchy has the spatial shape of the scan."""
    if tree.leaves.shape != shape:
        raise ValueError(f"the hierarchy has shape {tree.leaves.shape}, the scan {shape}")


def group_mask(name: str, group: Any, hierarchy: Hierarchy) -> np.ndarray:
    """Return which voxels belong to a group, int32 ``[D, H, W]`` of 0 and 1.

    Raises
    ------
    ValueError
        If the group is neither a mask of the hierarchy's shape nor intervals of its leaves.
    """
    given = plain_array(f"group {name!r}", group)
    if given.shape == hierarchy.leaves.shape:
        return (given != 0).astype(np.int32)
    if given.ndim == 2 and given.shape[1] == 2 and given.dtype.kind in "iu":
        chosen = np.zeros(hierarchy.n_leaves + 1, np.int32)
        for low, high in given:
            if not 1 <= low <= high <= hierarchy.n_leaves + 1:
                raise ValueError(f"group {name!r}: leaves are 1 to {hierarchy.n_leaves}, got {low}:{high}")
            chosen[low:high] = 1
        return chosen[hierarchy.leaves]
    raise ValueError(
        f"group {name!r} must be a mask of shape {hierarchy.leaves.shape} or leaf intervals "
        f"[(lo, hi), ...], got shape {given.shape}"
    )
