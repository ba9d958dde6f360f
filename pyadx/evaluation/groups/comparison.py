"""How alike a group map and a map of the literature are, with a null that keeps their smoothness."""

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
        Of either group's mean map with the other map.
    difference : float
        Of the difference map.
    p : float
        Two-sided, of ``difference`` against ``null``.
    null : numpy.ndarray
        float64 ``[permutations]``: of the difference map with shuffled labels.
    voxels, subjects : int
        How many were there.
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
    """Correlate the difference of two groups with another map.

    Every map of a group, also with shuffled labels, is a weighted sum of the subjects' maps: products of
    the maps with each other and with the other map, ``[N, N]`` and ``[N]``, give all correlations exactly.

    Parameters
    ----------
    matrix : MapMatrix
        ``[N, V]``.
    other : numpy.ndarray
        ``[V]``, the other map on the same voxels.
    design : Design
        Of the subjects; the difference is adjusted for its covariates.
    permutations, seed : int
        Of labels among subjects, which keeps the smoothness of maps.

    Raises
    ------
    ValueError
        If the other map is constant on these voxels.
    """
    aside = other.astype(np.float64) - other.mean(dtype=np.float64)
    length = float(np.sqrt(aside @ aside))
    if length == 0:
        raise ValueError("it is constant inside the mask: nothing can be correlated with it")
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
