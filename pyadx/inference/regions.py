"""Distinct regions: which voxels each box really changes, and which boxes change the same ones."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.region_fill import Filling, changed_voxels
from pyadx.ops.arrays import plain_tensor

_KEY_BITS = 10  # six coordinates of this many bits fit into one sortable 64-bit key


@dataclass(frozen=True, eq=False)
class Segments:
    """Regions given as intervals of labels, such as the supervoxels of a merge tree.

    Attributes
    ----------
    labels : Tensor
        int32 ``[D, H, W]`` on the scan's device.
    intervals : ndarray
        int32 ``[R, 2]``: region ``r`` is all voxels with ``lo <= label < hi``.
    """

    labels: Tensor
    intervals: np.ndarray


@dataclass(frozen=True)
class Regions:
    """The distinct regions of a scan, and the region that each of the ``N`` requested boxes becomes.

    Attributes
    ----------
    boxes : ndarray
        int32 ``[R, 6]``: bounding boxes ``z0, y0, x0, z1, y1, x1`` (half-open) of the voxels that really
        change. Without ``segments`` they are sorted and unique.
    inverse : ndarray
        int64 ``[N]``: the index of each requested box's region, or -1 if filling it changes nothing.
    segments : Segments, optional
        Which voxels of each bounding box are filled. Without it, all of them are.
    """

    boxes: np.ndarray
    inverse: np.ndarray
    segments: Segments | None = None

    def part(self, index: slice | np.ndarray) -> "Regions":
        """Return some of the regions, without the requested boxes: ``inverse`` then counts from 0."""
        boxes, segments = self.boxes[index], self.segments
        if segments is not None:
            segments = Segments(segments.labels, segments.intervals[index])
        return Regions(boxes, np.arange(len(boxes)), segments)

    def spread(self, values: Tensor) -> Tensor:
        """Return the value of each requested box, from ``[R]`` to ``[N]``; zero where nothing changes."""
        index = torch.from_numpy(self.inverse).to(values.device)
        spread = values.new_zeros(len(index))
        changing = index >= 0
        spread[changing] = values[index[changing]]
        return spread


def check_boxes(boxes: Tensor) -> np.ndarray:
    """Return boxes as an int64 array ``[N, 6]`` on the CPU.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If they have another shape.
    """
    tensor = plain_tensor("boxes", boxes if isinstance(boxes, Tensor) else np.asarray(boxes))
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"boxes must hold integers, got {tensor.dtype}")
    if tensor.dim() != 2 or tensor.shape[1] != 6:
        raise ValueError(f"boxes must have shape [B, 6], got {tuple(tensor.shape)}")
    return tensor.cpu().numpy().astype(np.int64)


def distinct_regions(volume: Tensor, boxes: Tensor, fill: Filling) -> Regions:
    """Shrink boxes to the voxels that filling them changes, and list each distinct box once.

    Filling background with background changes nothing. A box that lies in the background therefore scores
    exactly zero, and a box that is half in the background scores the same as its other half. Both hold
    for any model.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    boxes : Tensor
        Integers ``[N, 6]``: half-open ``z0, y0, x0, z1, y1, x1``. They are clipped at the volume's border.
    fill : Tensor or RegionFill
        Fill values: broadcastable to ``volume``, or computed for each region.

    Returns
    -------
    Regions
        The distinct bounding boxes, without segments.

    Raises
    ------
    TypeError
        If the boxes are not integers.
    ValueError
        If the boxes have another shape.
    """
    rows = check_boxes(boxes)
    differs = changed_voxels(volume, fill)
    limits = np.array(differs.shape)
    rows = np.concatenate([rows[:, :3].clip(0, limits), rows[:, 3:].clip(0, limits)], 1)
    rows[:, 3:] = np.maximum(rows[:, 3:], rows[:, :3])
    sums = np.zeros([n + 1 for n in differs.shape], np.int64)
    sums[1:, 1:, 1:] = differs.cumsum(0, dtype=np.int64).cumsum(1).cumsum(2)
    counts = _count(sums, rows)
    partly = np.flatnonzero((counts > 0) & (counts < np.prod(rows[:, 3:] - rows[:, :3], axis=1)))
    rows[partly] = _tightened(sums, rows[partly])
    inverse = np.full(len(rows), -1, np.int64)
    changing = np.flatnonzero(counts > 0)
    unique, inverse[changing] = _unique_rows(rows[changing], int(limits.max(initial=0)))
    return Regions(unique.astype(np.int32), inverse)


def _count(sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Count the changed voxels in each box from an integral image (summed-area table)."""
    _, sy, sx = (int(n) for n in sums.shape)
    flat = sums.ravel()
    z0, y0, x0, z1, y1, x1 = rows.T
    near, far = z0 * (sy * sx), z1 * (sy * sx)
    y0, y1 = y0 * sx, y1 * sx

    def plane(z: np.ndarray) -> np.ndarray:
        return flat[z + y1 + x1] - flat[z + y0 + x1] - flat[z + y1 + x0] + flat[z + y0 + x0]

    return plane(far) - plane(near)


def _tightened(sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Cut unchanged planes off the six sides of boxes that contain a changed voxel."""
    tight = rows.copy()
    for axis in range(3):
        for side in (axis, axis + 3):
            active = np.arange(len(tight))
            while len(active):
                outermost = tight[active]
                if side == axis:
                    outermost[:, axis + 3] = outermost[:, axis] + 1
                else:
                    outermost[:, axis] = outermost[:, axis + 3] - 1
                active = active[_count(sums, outermost) == 0]
                tight[active, side] += 1 if side == axis else -1
    return tight


def _unique_rows(rows: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    if longest >= 1 << _KEY_BITS:
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        return unique, inverse.reshape(-1)
    shifts = np.arange(5, -1, -1) * _KEY_BITS
    keys, inverse = np.unique((rows << shifts).sum(1), return_inverse=True)
    return (keys[:, None] >> shifts) & ((1 << _KEY_BITS) - 1), inverse
