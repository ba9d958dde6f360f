"""The ultrametric contour map of a hierarchy."""

from dataclasses import dataclass

import numpy as np

from pyadx.short_reprs import short_repr


@dataclass(frozen=True, eq=False)
class ContourMap:
    """Altitude at which each pair of neighbouring voxels merges into one region.

    Attributes
    ----------
    faces : tuple of ndarray
        float64 ``[D - 1, H, W]``, ``[D, H - 1, W]`` and ``[D, H, W - 1]``: altitude of the face between a
        voxel and the next one along each axis. It is 0 inside a leaf and outside the mask, and infinite at
        the border of the mask.
    """

    faces: tuple[np.ndarray, np.ndarray, np.ndarray]

    __repr__ = short_repr

    @property
    def voxels(self) -> np.ndarray:
        """The highest finite altitude of each voxel's faces, float64 ``[D, H, W]``, for display."""
        z, y, x = self.faces
        strongest = np.zeros((z.shape[0] + 1, y.shape[1] + 1, x.shape[2] + 1))
        for axis, face in enumerate(self.faces):
            finite = np.where(np.isfinite(face), face, 0.0)
            for part in (slice(None, -1), slice(1, None)):
                at = tuple(part if a == axis else slice(None) for a in range(3))
                np.maximum(strongest[at], finite, out=strongest[at])
        return strongest


def contour_map(leaves: np.ndarray, joins: np.ndarray) -> ContourMap:
    """Return the contour map of leaves that are numbered in depth-first order.

    Parameters
    ----------
    leaves : ndarray
        int32 ``[D, H, W]``: 1 to R, and 0 outside the mask.
    joins : ndarray
        float64 ``[R - 1]``: altitude at which leaves ``i + 1`` and ``i + 2`` are joined.
    """
    table = _maximum_table(joins)
    faces = []
    for axis in range(3):
        near = np.take(leaves, range(leaves.shape[axis] - 1), axis)
        far = np.take(leaves, range(1, leaves.shape[axis]), axis)
        face = np.zeros(near.shape)
        face[(near == 0) != (far == 0)] = np.inf
        between = (near != far) & (near > 0) & (far > 0)
        face[between] = _maximum(table, near[between], far[between])
        faces.append(face)
    return ContourMap((faces[0], faces[1], faces[2]))


def _maximum_table(values: np.ndarray) -> list[np.ndarray]:
    """Return a sparse table: entry ``[p][i]`` is the maximum of ``values[i : i + 2**p]``."""
    table = [values]
    while len(table[-1]) > (step := 1 << (len(table) - 1)):
        table.append(np.maximum(table[-1][:-step], table[-1][step:]))
    return table


def _maximum(table: list[np.ndarray], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the altitude at which leaves a and b (from 1) merge: the maximum of the joins between them."""
    low, high = np.minimum(a, b) - 1, np.maximum(a, b) - 1
    power = np.frexp(high - low)[1] - 1
    result = np.empty(len(a))
    for p in np.unique(power):
        of = power == p
        result[of] = np.maximum(table[p][low[of]], table[p][high[of] - (1 << int(p))])
    return result
