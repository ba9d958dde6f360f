"""A segmentation hierarchy: one label volume of leaves, in which every region is an interval."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pyadx.ops.numbers import real_number, whole_number
from pyadx.segmentation.contours import ContourMap, contour_map
from pyadx.segmentation.storage import ARRAYS, save_arrays, save_labels


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Nested segmentations of a volume, from the finest regions (leaves) to a single region.

    Use `pyadx.segmentation.ucm`, `pyadx.segmentation.from_labels` or `pyadx.segmentation.load` to make one.

    Leaves are numbered in depth-first order of the merge tree. Every region of every level is therefore an
    interval of leaves: ``lo <= leaf < hi``. The nodes of a tree with R leaves are numbered
    ``0 .. 2R - 2``: node ``i < R`` is leaf ``i + 1``, and node ``R + k`` is the result of merge k, from 0.

    Attributes
    ----------
    leaves : ndarray
        int32 ``[D, H, W]``: leaf of each voxel, 1 to R, and 0 outside the mask.
    parent : ndarray
        int32 ``[2R - 1]``: parent of each node; the root is its own parent.
    altitude : ndarray
        float64 ``[2R - 1]``: cost of the merge that made the node; 0 for leaves. It never falls from one
        merge to the next, and is infinite if the merged regions are not connected.
    area : ndarray
        int64 ``[2R - 1]``: size of each node in voxels.
    levels : ndarray
        int64 ``[L]``: number of regions of each level, finest first.
    first, last : ndarray
        int32 ``[2R - 1]``: the leaves of a node are those with ``first < leaf <= last``.

    Raises
    ------
    ValueError
        If the shapes or lengths of the arrays do not fit each other.
    """

    leaves: np.ndarray
    parent: np.ndarray
    altitude: np.ndarray
    area: np.ndarray
    levels: np.ndarray
    first: np.ndarray = field(repr=False)
    last: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        nodes = 2 * self.n_leaves - 1
        arrays = (self.parent, self.altitude, self.area, self.first, self.last)
        if self.leaves.ndim != 3 or any(len(array) != nodes for array in arrays):
            raise ValueError(
                f"a hierarchy of {self.n_leaves} leaves needs leaves of shape [D, H, W], and {nodes} "
                "entries in each of parent, altitude, area, first and last"
            )

    def __repr__(self) -> str:
        shape, levels = "x".join(map(str, self.leaves.shape)), self.levels.tolist()
        counts = f"{levels[0]} to {levels[-1]} regions" if levels else "none"
        return f"Hierarchy({shape} voxels, {self.n_leaves} leaves, {len(levels)} levels: {counts})"

    @property
    def n_leaves(self) -> int:
        """Number of leaves, R."""
        return (len(self.parent) + 1) // 2

    @cached_property
    def _order(self) -> np.ndarray:
        """Number of the merge that joins leaves ``i + 1`` and ``i + 2``, int64 ``[R - 1]``."""
        merges = np.empty(self.n_leaves - 1, np.int64)
        nodes = np.arange(len(self.parent) - 1)
        parent = self.parent[:-1]
        second = nodes[self.first[nodes] != self.first[parent]]
        merges[self.first[second] - 1] = self.parent[second] - self.n_leaves
        return merges

    # --- segmentations -----------------------------------------------------------------------------------

    def labels(self, level: int) -> np.ndarray:
        """Return the regions of one level.

        Parameters
        ----------
        level : int
            0 is the finest; -1 is the coarsest, and other negative numbers count from there.

        Returns
        -------
        ndarray
            int32 ``[D, H, W]``: 1 to ``levels[level]``, and 0 outside the mask.

        Raises
        ------
        ValueError
            If there is no such level.
        """
        number = whole_number(level)
        if number is None or not -len(self.levels) <= number < len(self.levels):
            raise ValueError(f"level must be from 0 to {len(self.levels) - 1}, got {level}")
        return self.cut(n_regions=int(self.levels[number]))

    def cut(
        self,
        n_regions: int | None = None,
        *,
        altitude: float | None = None,
        min_area: int | None = None,
    ) -> np.ndarray:
        """Return the segmentation that meets one criterion.

        Parameters
        ----------
        n_regions : int, optional
            Number of regions. If there are fewer leaves, the regions are the leaves.
        altitude : float, optional
            At least 0. Merges at this altitude or below are done, and no others.
        min_area : int, optional
            Smallest size of a region in voxels. The result is the finest segmentation of the tree without
            smaller regions.

        Returns
        -------
        ndarray
            int32 ``[D, H, W]``: regions from 1 in the order of their leaves, and 0 outside the mask.

        Raises
        ------
        ValueError
            If not exactly one criterion is given, or it is out of range.
        """
        if (n_regions is not None) + (altitude is not None) + (min_area is not None) != 1:
            raise ValueError("give exactly one of n_regions, altitude and min_area")
        if n_regions is not None:
            kept = self._order >= self.n_leaves - _count("n_regions", n_regions)
        elif altitude is not None:
            least = real_number(altitude)
            if least is None or not least >= 0:
                raise ValueError(f"altitude must be a number of at least 0, got {altitude!r}")
            kept = self.altitude[self.n_leaves :][self._order] > least
        else:
            kept = self._divided(_count("min_area", min_area))[self._order]
        of_leaf = np.concatenate([[0, 1], 1 + np.cumsum(kept)]).astype(np.int32)
        return of_leaf[self.leaves]

    def merge_order(self, n_regions: int) -> np.ndarray:
        """Return which merge joins each region of ``cut(n_regions)`` with the next one.

        Parameters
        ----------
        n_regions : int
            Number of regions, at least 1.

        Returns
        -------
        ndarray
            int64 ``[K - 1]`` for K regions: number of the merge, from 0, that joins regions ``i + 1`` and
            ``i + 2``. Regions a and b > a are in one region once the highest of the merges at ``a - 1`` to
            ``b - 2`` is done.
        """
        kept = self._order >= self.n_leaves - _count("n_regions", n_regions)
        return self._order[kept]

    def _divided(self, min_area: int) -> np.ndarray:
        """Whether each merge can be undone without making a smaller region, bool ``[R - 1]``."""
        count = self.n_leaves
        smaller = np.full(count - 1, np.iinfo(np.int64).max)
        np.minimum.at(smaller, self.parent[:-1] - count, self.area[:-1])
        divided = smaller >= min_area
        for node in range(count - 3, -1, -1):  # the root's children and down
            divided[node] &= divided[self.parent[count + node] - count]
        return divided

    @cached_property
    def _level_span(self) -> tuple[np.ndarray, np.ndarray]:
        """First and one past the last level that have each node as a region, from the coarsest."""
        total = len(self.parent)
        parent = self.parent.astype(np.int64)
        parent[-1] = total  # the root is never merged
        rising = np.sort(self.levels)
        # Node n is a region of the segmentation with K regions while n < 2R - K <= parent(n).
        fewest, most = total + 1 - parent, total - np.arange(total)
        return np.searchsorted(rising, fewest, "left"), np.searchsorted(rising, most, "right")

    @property
    def regions(self) -> np.ndarray:
        """The distinct regions of all levels, int64 ``[N, 2]``: ``lo <= leaf < hi``."""
        start, stop = self._level_span
        nodes = np.flatnonzero(stop > start)
        return np.stack([self.first[nodes], self.last[nodes]], 1).astype(np.int64) + 1

    @property
    def levels_per_region(self) -> np.ndarray:
        """Number of levels that have each of `regions`, int64 ``[N]``."""
        start, stop = self._level_span
        return (stop - start)[stop > start]

    # --- other forms -------------------------------------------------------------------------------------

    def ucm(self) -> ContourMap:
        """Return the ultrametric contour map: the altitude at which neighbouring voxels merge.

        If every leaf is connected, as those of `pyadx.segmentation.ucm` are, voxels that are connected
        through faces of a finite altitude or less are one region of ``cut(altitude=...)``.
        """
        return contour_map(self.leaves, self.altitude[self.n_leaves :][self._order])

    def to_linkage(self) -> np.ndarray:
        """Return a linkage matrix of SciPy, float64 ``[R - 1, 4]``; observation ``i`` is leaf ``i + 1``."""
        count = self.n_leaves
        children = np.argsort(self.parent[:-1], kind="stable").reshape(-1, 2)
        leaves = self.last[count:] - self.first[count:]
        return np.column_stack([children, self.altitude[count:], leaves]).astype(np.float64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the hierarchy to a file that `pyadx.segmentation.load` reads.

        Parameters
        ----------
        path : path
            File to write, ending in ``.npz``; an existing file is replaced.

        Raises
        ------
        ValueError
            If the name has another ending.
        """
        save_arrays(path, {name: getattr(self, name) for name in ARRAYS})

    def label_stack(self) -> np.ndarray:
        """Return the label volumes of all levels, int16 or int32 ``[D, H, W, L]``, finest first."""
        kind = np.int16 if int(self.levels.max()) < 2**15 else np.int32
        return np.stack([self.labels(i).astype(kind) for i in range(len(self.levels))], -1)

    def save_labels(self, path: str | os.PathLike[str], affine: np.ndarray) -> None:
        """Write the label volumes of all levels to one 4D NIfTI file, finest level first.

        Parameters
        ----------
        path : path
            File to write, ending in ``.nii`` or ``.nii.gz``; an existing file is replaced.
        affine : ndarray
            ``[4, 4]``, voxel indices to world coordinates in mm.

        Raises
        ------
        ValueError
            If the name has another ending.
        """
        save_labels(path, self.label_stack(), affine)


def _count(name: str, value: Any) -> int:
    number = real_number(value)
    if number is None or not number >= 1 or not number.is_integer():
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(number)
