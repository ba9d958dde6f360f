"""How boxes of changed cells grow from map to map.

Boxes are int32 ``[N, 6]``: half-open ``z0, y0, x0, z1, y1, x1`` in cells of a map. Empty boxes are all
zero.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

Triple = tuple[int, int, int]

_SIZE_STEP = 4.0  # boxes of one group differ in their number of cells by less than this factor


class Window(NamedTuple):
    """The inputs that an output of a convolution or pooling reads.

    Along each axis, output ``o`` reads the inputs ``o * stride - padding + k * dilation`` for ``k`` from
    0 to ``kernel - 1``.
    """

    kernel: Triple
    stride: Triple
    padding: Triple
    dilation: Triple

    @property
    def reach(self) -> np.ndarray:
        """Distance from the first to the last input of a window, along each axis."""
        return np.asarray(self.dilation) * (np.asarray(self.kernel) - 1)


def extents(boxes: np.ndarray) -> np.ndarray:
    """Return the lengths of boxes along each axis, ``[N, 3]``."""
    return boxes[:, 3:] - boxes[:, :3]


def cells(boxes: np.ndarray) -> np.ndarray:
    """Return the number of cells of every box, float64 ``[N]``."""
    return extents(boxes).astype(np.float64).prod(1)


def largest(boxes: np.ndarray) -> Triple:
    """Return the size of a slot that holds any of the boxes; at least one cell along each axis."""
    z, y, x = extents(boxes).max(0, initial=1).tolist()
    return z, y, x


def by_size(boxes: np.ndarray) -> Iterator[np.ndarray]:
    """Group boxes of about the same size: yield each group's indices, int64 ``[n]``, the smallest first."""
    sides = extents(boxes)
    sizes = sides.prod(1, dtype=np.int64)
    order = np.lexsort((*sides.T, sizes))
    start = 0
    while start < len(order):
        stop = int(np.searchsorted(sizes[order], sizes[order[start]] * _SIZE_STEP, "left"))
        stop = max(stop, start + 1)  # for boxes without cells
        yield order[start:stop]
        start = stop


def clipped(boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Clip boxes to a map of ``size``; boxes without cells become all zero."""
    limits = np.asarray(size, np.int32)
    result = np.concatenate([boxes[:, :3].clip(0, limits), boxes[:, 3:].clip(0, limits)], 1)
    result[(result[:, 3:] <= result[:, :3]).any(1)] = 0
    return result.astype(np.int32)


def through_window(boxes: np.ndarray, window: Window, size: Sequence[int]) -> np.ndarray:
    """Return the boxes of outputs, in a map of ``size``, whose window meets the boxes of inputs."""
    step, shift = np.asarray(window.stride), np.asarray(window.padding)
    low = -((window.reach - shift - boxes[:, :3]) // step)  # rounded up
    high = (boxes[:, 3:] - 1 + shift) // step + 1
    grown = np.concatenate([low, high], 1)
    grown[(boxes[:, 3:] <= boxes[:, :3]).any(1)] = 0
    return clipped(grown, size)


def input_frames(boxes: np.ndarray, window: Window) -> np.ndarray:
    """Return the boxes of inputs that output boxes read through a window; they may reach beyond the map."""
    step, shift = np.asarray(window.stride), np.asarray(window.padding)
    low = boxes[:, :3] * step - shift
    high = (boxes[:, 3:] - 1) * step - shift + window.reach + 1
    return np.concatenate([low, high], 1).astype(np.int32)


def frame_size(slot: Triple, window: Window) -> list[int]:
    """Return the size of a slot of `input_frames` that belongs to a slot of output boxes."""
    size = (np.array(slot) - 1) * np.asarray(window.stride) + window.reach + 1
    return [int(n) for n in size]


def union(several: Sequence[np.ndarray]) -> np.ndarray:
    """Return, row by row, the smallest box around boxes of the same map; empty boxes do not count."""
    low, high = np.full((len(several[0]), 3), 2**30), np.zeros((len(several[0]), 3), np.int64)
    for boxes in several:
        filled = np.all(boxes[:, 3:] > boxes[:, :3], axis=1, keepdims=True)
        low = np.where(filled, np.minimum(low, boxes[:, :3]), low)
        high = np.where(filled, np.maximum(high, boxes[:, 3:]), high)
    return np.concatenate([np.where(high > 0, low, 0), high], 1).astype(np.int32)


def shifted(boxes: np.ndarray, offset: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Move boxes into a map of ``size`` that was padded (negative offsets: cropped) at its low sides."""
    moved = boxes + np.tile(np.asarray(offset, np.int32), 2)
    moved[(boxes[:, 3:] <= boxes[:, :3]).any(1)] = 0
    return clipped(moved, size)
