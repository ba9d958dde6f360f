"""Running sums over the maps of a group. Memory grows with the number of voxels, not of subjects."""

from dataclasses import dataclass

import numpy as np

from pyadx.evaluation.truth import strongest_part


@dataclass(eq=False)
class MapSums:
    """Running mean and variance of maps. Sums of parts of a group can be merged.

    Welford's update keeps the mean and the sum of squared deviations, and Chan's formula merges two of them
    (Chan, Golub and LeVeque 1983). Neither subtracts large, nearly equal numbers. The same maps, in the
    same order and parts, give bitwise the same sums.

    Attributes
    ----------
    count : int
        Number of maps.
    mean : numpy.ndarray
        float64 ``[V]``: mean of the maps.
    squares : numpy.ndarray
        float64 ``[V]``: sum of squared deviations from the mean.
    strongest : numpy.ndarray
        int64 ``[V]``: number of maps with the voxel among their strongest 5% (see
        `pyadx.evaluation.truth.strongest_part`).
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray
    strongest: np.ndarray

    @classmethod
    def empty(cls, voxels: int) -> "MapSums":
        """Return sums to which no map has been added."""
        return cls(0, np.zeros(voxels), np.zeros(voxels), np.zeros(voxels, np.int64))

    def add(self, values: np.ndarray) -> None:
        """Add one map.

        Parameters
        ----------
        values : numpy.ndarray
            The map, ``[V]``, finite.

        Raises
        ------
        ValueError
            If the map has another number of voxels, or is not finite.
        """
        if values.shape != self.mean.shape:
            raise ValueError(
                f"the map has shape {values.shape}, but the sums have {self.mean.shape} voxels"
            )
        if not np.isfinite(values).all():
            raise ValueError("the map holds NaN or infinity")
        self.count += 1
        change = values - self.mean
        self.mean += change / self.count
        self.squares += change * (values - self.mean)
        if values.any():
            self.strongest += strongest_part(values)

    def merge(self, other: "MapSums") -> None:
        """Add the sums of another part of the group.

        Parameters
        ----------
        other : MapSums
            Sums over other maps of the same voxels.

        Raises
        ------
        ValueError
            If ``other`` has another number of voxels.
        """
        if other.mean.shape != self.mean.shape:
            raise ValueError(f"sums of {other.mean.shape} voxels do not fit those of {self.mean.shape}")
        if not other.count:
            return
        total = self.count + other.count
        change = other.mean - self.mean
        self.mean += change * (other.count / total)
        self.squares += other.squares + change**2 * (self.count * other.count / total)
        self.strongest += other.strongest
        self.count = total

    @property
    def variance(self) -> np.ndarray:
        """Unbiased variance, float64 ``[V]``; NaN for fewer than two maps."""
        if self.count < 2:
            return np.full_like(self.squares, np.nan)
        return self.squares / (self.count - 1)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation, float64 ``[V]``; NaN for fewer than two maps."""
        return np.sqrt(self.variance)

    @property
    def share(self) -> np.ndarray:
        """Share of the maps with the voxel among their strongest 5%, float64 ``[V]``, 0 to 1."""
        return self.strongest / max(1, self.count)
