"""Exact precision-recall curves of one heatmap against many regions at once.

Sorting is what costs: scikit-learn's `precision_recall_curve` sorts the scores anew for every region.
Here they are sorted once, and each region only counts its voxels along that order. Equal scores are one
threshold, as an occlusion map is piecewise constant and the order inside a tie means nothing. The
numbers are those of scikit-learn.
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
        Distinct scores, descending, ``[T]``. Voxels with at least this score are found.
    hits : numpy.ndarray
        int64 ``[T]``: found voxels inside the region.
    found : numpy.ndarray
        int64 ``[T]``: found voxels.
    """

    thresholds: np.ndarray
    hits: np.ndarray
    found: np.ndarray

    __repr__ = short_repr

    @cached_property
    def precision(self) -> np.ndarray:
        """Share of the found voxels that lie in the region, ``[T]``."""
        return self.hits / self.found

    @cached_property
    def recall(self) -> np.ndarray:
        """Share of the region that is found, ``[T]``, ascending."""
        return self.hits / self.hits[-1]

    @cached_property
    def average_precision(self) -> float:
        """Sum over thresholds of precision times the recall gained, in [0, 1]."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def prevalence(self) -> float:
        """Share of all voxels that lie in the region: the average precision of a random map."""
        return float(self.hits[-1] / self.found[-1])

    def thinned(self, points: int = 500) -> tuple[np.ndarray, np.ndarray]:
        """Return recall and precision of at most so many points, evenly spread in recall, for plotting."""
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
        One per voxel, any shape, finite. Several scans are pooled by concatenation.
    regions : mapping
        Name to bool mask of the same shape.

    Returns
    -------
    dict
        Name to `PrecisionRecall`.

    Raises
    ------
    ValueError
        If there are no voxels, scores are not finite, shapes differ, or a region is empty or everywhere.
    """
    flat = np.asarray(scores).ravel()
    if flat.size == 0:
        raise ValueError("there are no voxels to evaluate on")
    if not np.isfinite(flat).all():
        raise ValueError("the heatmap holds NaN or infinity; an explanation of these voxels does not exist")
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
        raise TypeError(f"region {name!r} must be a mask of bool, got {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(f"region {name!r} has shape {mask.shape}, the heatmap {shape}")
    if not mask.any():
        raise ValueError(f"region {name!r} is empty among the evaluated voxels: nothing can be found there")
    if mask.all():
        raise ValueError(f"region {name!r} is all of the evaluated voxels: nothing can be told apart")
    return mask.ravel()
