"""Which voxels a list of boxes really changes, and which boxes come to the same."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.region_fill import Filling, changed_voxels
from pyadx.ops.arrays import plain_tensor

_KEY_BITS = 10  # six coordinates of at most this many bits make one sortable 64-bit key


@dataclass(frozen=True, eq=False)
class Segments:
    """Regions that are intervals of labels.

    Attributes
    ----------
    labels : Tensor
        int32 ``[D, H, W]`` on the scan's device.
    intervals : ndarray
        int32 ``[R, 2]``: ``lo <= label < hi``.
    """

    labels: Tensor
    intervals: np.ndarray


@dataclass(frozen=True)
class Regions:
    """Distinct regions of a scan, and which of them every box of a list comes to.

    Attributes
    ----------
    boxes : ndarray
        int32 ``[R, 6]``: bounding boxes of the voxels that really change, sorted, none twice.
    inverse : ndarray
        int64 ``[N]``: the region of every box, or -1 where nothing changes.
    segments : Segments, optional
        Which voxels of the boxes are filled; all of them without it.
    """

    boxes: np.ndarray
    inverse: np.ndarray
    segments: Segments | None = None

    def part(self, index: slice | np.ndarray) -> "Regions":
        """Return some of the regions, each standing for itself."""
        boxes, segments = self.boxes[index], self.segments
        if segments is not None:
            segments = Segments(segments.labels, segments.intervals[index])
        return Regions(boxes, np.arange(len(boxes)), segments)

    def spread(self, values: Tensor) -> Tensor:
        """Give every box the value of its region; zero where nothing changes."""
        index = torch.from_numpy(self.inverse).to(values.device)
        spread = values.new_zeros(len(index))
        changing = index >= 0
        spread[changing] = values[index[changing]]
        return spread


def check_boxes(boxes: Tensor) -> np.ndarray:
    """Return boxes as int64 ``[N, 6]``.

    Raises
    ------
    TypeError, ValueError
        If they are not integers of that shape.
    """
    tensor = plain_tensor("boxes", boxes if isinstance(boxes, Tensor) else np.asarray(boxes))
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"boxes must hold integers, got {tensor.dtype}")
    if tensor.dim() != 2 or tensor.shape[1] != 6:
        raise ValueError(f"boxes must have shape [B, 6], got {tuple(tensor.shape)}")
    return tensor.cpu().numpy().astype(np.int64)


def distinct_regions(volume: Tensor, boxes: Tensor, fill: Filling) -> Regions:
    """Shrink boxes to the voxels that filling them changes, and list every result once.

    Filling background with background changes nothing: the score of such a box is exactly zero, and
    that of a box half in the background is the score of its other half. Both hold for any model.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    boxes : Tensor
        Integers ``[N, 6]``: half-open ``z0, y0, x0, z1, y1, x1``; clipped at the border here.
    fill : Tensor or RegionFill
        Broadcastable to ``volume``, or values that depend on the region.

    Returns
    -------
    Regions
        The distinct bounding boxes.
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
    """Count the changed voxels in every box, with an integral image."""
    _, sy, sx = (int(n) for n in sums.shape)
    flat = sums.ravel()
    z0, y0, x0, z1, y1, x1 = rows.T
    near, far = z0 * (sy * sx), z1 * (sy * sx)
    y0, y1 = y0 * sx, y1 * sx

    def plane(z: np.ndarray) -> np.ndarray:
        return flat[z + y1 + x1] - flat[z + y0 + x1] - flat[z + y1 + x0] + flat[z + y0 + x0]

    return plane(far) - plane(near)


def _tightened(sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Cut unchanged planes off the six sides of boxes that hold a changed voxel."""
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
