"""Spatial correlation of a group map with a published map, with a null that keeps the maps' smoothness."""

from dataclasses import dataclass

import numpy as np

from pyadx.evaluation.groups.design import Design
from pyadx.evaluation.groups.matrix import MapMatrix


@dataclass(frozen=True, eq=False)
class SpatialCorrelation:
    """Pearson correlations over voxels.

    Attributes
    ----------
    first, second : float
        Correlation of each group's mean map with the other map.
    difference : float
        Correlation of the difference map with the other map.
    p : float
        Two-sided p of ``difference`` under ``null``.
    null : numpy.ndarray
        float64 ``[permutations]``: correlation of the difference map with shuffled labels.
    voxels, subjects : int
        Numbers of voxels and subjects.
    """

    first: float
    second: float
    difference: float
    p: float
    null: np.ndarray
    voxels: int
    subjects: int


def spatial_correlation(
    matrix: MapMatrix, other: np.ndarray, design: Design, *, permutations: int = 1000, seed: int = 0
) -> SpatialCorrelation:
    """Correlate the difference of two groups with another map, over voxels.

    The null shuffles group labels among subjects. This keeps the maps, and with them their smoothness.

    Any group map, also with shuffled labels, is a weighted sum of the subjects' maps. So the products of
    the maps with each other, ``[N, N]``, and with the other map, ``[N]``, give all correlations exactly.

    Parameters
    ----------
    matrix : MapMatrix
        Maps of all subjects, ``[N, V]``.
    other : numpy.ndarray
        ``[V]``, the other map on the same voxels.
    design : Design
        Groups and covariates of the ``N`` subjects. The difference is adjusted for the covariates.
    permutations : int
        Number of times the labels are shuffled.
    seed : int
        Seed of the shuffling.

    Returns
    -------
    SpatialCorrelation
        Correlations and the p of the difference.

    Raises
    ------
    ValueError
        If the other map is constant on these voxels.
    """
    aside = other.astype(np.float64) - other.mean(dtype=np.float64)
    length = float(np.sqrt(aside @ aside))
    if length == 0:
        raise ValueError("it is constant inside the mask, so no correlation with it is defined")
    subjects, voxels = matrix.shape
    products, sums, shared = np.zeros((subjects, subjects)), np.zeros(subjects), np.zeros(subjects)
    for start, stop in matrix.blocks(1 << 16):
        values = matrix.block(start, stop)
        products += values @ values.T
        sums += values.sum(1)
        shared += values @ aside[start:stop]
    products -= np.outer(sums, sums) / voxels

    def correlation(weights: np.ndarray) -> float:
        spread = float(weights @ products @ weights)
        return float(weights @ shared / np.sqrt(spread) / length) if spread > 0 else 0.0

    found = correlation(design.adjusted())
    generator = np.random.default_rng(seed)
    null = np.array([correlation(design.shuffled(generator).adjusted()) for _ in range(permutations)])
    reached = int((np.abs(null) >= abs(found) * (1 - 1e-12)).sum())
    one, two = (correlation(group / group.sum()) for group in (design.first, ~design.first))
    return SpatialCorrelation(one, two, found, (1 + reached) / (1 + permutations), null, voxels, subjects)
