"""Exact precision-recall curves of one heatmap against many regions at once.

Most of the time goes into sorting. scikit-learn's `precision_recall_curve` sorts the scores again for every
region. Here they are sorted once, and each region counts its voxels in that order. Equal scores share one
threshold: occlusion maps are piecewise constant, and the order within a tie carries no information. The
results equal those of scikit-learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pyadx.short_reprs import short_repr


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """A precision-recall curve, one point per distinct score.

    Attributes
    ----------
    thresholds : numpy.ndarray
        Distinct scores in descending order, ``[T]``. Voxels with at least this score count as found.
    hits : numpy.ndarray
        int64 ``[T]``: number of found voxels inside the region (true positives).
    found : numpy.ndarray
        int64 ``[T]``: number of found voxels (predicted positives).
    """

    thresholds: np.ndarray
    hits: np.ndarray
    found: np.ndarray

    __repr__ = short_repr

    @cached_property
    def precision(self) -> np.ndarray:
        """Share of the found voxels that are inside the region, ``[T]``."""
        return self.hits / self.found

    @cached_property
    def recall(self) -> np.ndarray:
        """Share of the region that is found, ``[T]``, ascending."""
        return self.hits / self.hits[-1]

    @cached_property
    def average_precision(self) -> float:
        """Sum over thresholds of precision times the gain in recall, in [0, 1]."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def prevalence(self) -> float:
        """Share of all voxels that are in the region: the expected average precision of a random map."""
        return float(self.hits[-1] / self.found[-1])

    def thinned(self, points: int = 500) -> tuple[np.ndarray, np.ndarray]:
        """Thin out the curve for plotting.

        Parameters
        ----------
        points : int
            Largest number of points.

        Returns
        -------
        recall, precision : numpy.ndarray
            At most ``points`` points of the curve, evenly spread in recall.
        """
        if len(self.recall) <= points:
            return self.recall, self.precision
        at = np.searchsorted(self.recall, np.linspace(0, 1, points), side="left")
        at = np.unique(np.clip(at, 0, len(self.recall) - 1))
        return self.recall[at], self.precision[at]


def precision_recall(scores: np.ndarray, regions: Mapping[str, np.ndarray]) -> dict[str, PrecisionRecall]:
    """Return the exact precision-recall curve of scores against every region.

    Parameters
    ----------
    scores : numpy.ndarray
        One finite score per voxel, in any shape. Concatenate scans to pool them.
    regions : mapping
        Region name to bool mask of the same shape.

    Returns
    -------
    dict
        Region name to `PrecisionRecall`.

    Raises
    ------
    ValueError
        If there are no voxels, scores are not finite, shapes differ, or a region holds none or all of the
        voxels.
    TypeError
        If a mask is not of dtype bool.
    """
    flat = np.asarray(scores).ravel()
    if flat.size == 0:
        raise ValueError("there are no voxels to evaluate")
    if not np.isfinite(flat).all():
        raise ValueError("the heatmap holds NaN or infinity; every evaluated voxel needs a finite value")
    masks = {}
    for name, mask in regions.items():
        masks[name] = _checked_mask(name, mask, np.shape(scores))
    order = np.argsort(flat)[::-1]
    sorted_scores = flat[order]
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), flat.size - 1)
    thresholds, found = sorted_scores[last], last + 1
    curves = {}
    for name, mask in masks.items():
        hits = np.cumsum(mask[order], dtype=np.int64)[last]
        curves[name] = PrecisionRecall(thresholds, hits, found)
    return curves


def _checked_mask(name: str, mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(f"region {name!r} must be a mask of dtype bool, got {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(f"region {name!r} has shape {mask.shape}, but the heatmap has shape {shape}")
    if not mask.any():
        raise ValueError(
            f"region {name!r} is empty among the evaluated voxels: precision and recall need at least one"
        )
    if mask.all():
        raise ValueError(
            f"region {name!r} covers all of the evaluated voxels: precision and recall need some outside it"
        )
    return mask.ravel()
