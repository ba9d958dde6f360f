"""Distinct regions from intervals of labels: which voxels each changes, and which change the same ones."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.region_fill import Filling, changed_voxels
from pyadx.inference.regions import Regions, Segments
from pyadx.ops.arrays import plain_array


def distinct_segments(volume: Tensor, labels: Any, intervals: Any, fill: Filling) -> Regions:
    """Find the voxels that filling each interval of labels changes, and list each distinct region once.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    labels : array or Tensor
        Integers ``[D, H, W]``, not negative.
    intervals : array or Tensor
        Integers ``[N, 2]``: filling interval ``lo, hi`` fills the voxels with ``lo <= label < hi``.
    fill : Tensor or RegionFill
        Fill values: broadcastable to ``volume``, or computed for each region.

    Returns
    -------
    Regions
        The distinct regions, with segments. Their labels are renumbered.

    Raises
    ------
    TypeError
        If labels or intervals hold no real numbers.
    ValueError
        If shapes do not fit, or labels are negative.
    """
    from scipy import ndimage

    array = plain_array("labels", labels).astype(np.int64)
    rows = plain_array("intervals", intervals).astype(np.int64)
    if array.shape != tuple(volume.shape[1:]):
        raise ValueError(f"labels have shape {array.shape}, the volume {tuple(volume.shape[1:])}")
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"intervals must have shape [N, 2], got {rows.shape}")
    if array.min(initial=0) < 0:
        raise ValueError(f"labels must not be negative, got {array.min()}")
    rows = rows.clip(0, array.max(initial=0) + 1)
    # Only the ends of intervals matter, so all labels between two consecutive ends get the same number,
    # from 1. Number 0 is left for voxels that filling does not change: they belong to no region.
    ends = np.unique(rows)
    of_label = np.searchsorted(ends, np.arange(array.max(initial=0) + 1), "right")
    differs = changed_voxels(volume, fill)
    numbers = np.where(differs, of_label[array], 0).astype(np.int32)
    rows = np.searchsorted(ends, rows, "left") + 1

    found = ndimage.find_objects(numbers, max_label=len(ends))
    low = np.full((len(ends) + 1, 3), np.iinfo(np.int64).max)
    high = np.zeros((len(ends) + 1, 3), np.int64)
    for number, box in enumerate(found, start=1):
        if box is not None:
            low[number] = [side.start for side in box]
            high[number] = [side.stop for side in box]
    present = high.any(1)
    # Intervals are the same region if they contain the same numbers, of those that change a voxel.
    rank = np.concatenate([[0], np.cumsum(present)])
    members = np.stack([rank[rows[:, 0]], rank[rows[:, 1]]], 1)
    changing = np.flatnonzero(members[:, 1] > members[:, 0])
    _, first, inverse = np.unique(members[changing], axis=0, return_index=True, return_inverse=True)
    own = rows[changing[first]]
    boxes = np.array([[*low[a:b].min(0), *high[a:b].max(0)] for a, b in own], np.int32).reshape(-1, 6)
    spread = np.full(len(rows), -1, np.int64)
    spread[changing] = inverse.reshape(-1)
    kept = torch.from_numpy(numbers).to(volume.device)
    return Regions(boxes, spread, Segments(kept, own.astype(np.int32)))
