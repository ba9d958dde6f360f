"""Sums over the maps of a group that grow with voxels, never with subjects."""

from dataclasses import dataclass

import numpy as np

from pyadx.evaluation.truth import strongest_part


@dataclass(eq=False)
class MapSums:
    """What is kept of the maps that were added so far; parts of a group can be merged.

    Welford's update keeps the mean and the sum of squared deviations, Chan's formula merges two of them
    (Chan, Golub and LeVeque 1983): neither subtracts large numbers of the same size. The same maps in the
    same order and parts give the same bytes.

    Attributes
    ----------
    count : int
        Maps.
    mean : numpy.ndarray
        float64 ``[V]``.
    squares : numpy.ndarray
        float64 ``[V]``, sum of squared deviations from the mean.
    strongest : numpy.ndarray
        int64 ``[V]``, in how many maps the voxel is among the strongest 5%; see `strongest_part`.
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray
    strongest: np.ndarray

    @classmethod
    def empty(cls, voxels: int) -> "MapSums":
        """Return the sums of no map."""
        return cls(0, np.zeros(voxels), np.zeros(voxels), np.zeros(voxels, np.int64))

    def add(self, values: np.ndarray) -> None:
        """Add one map.

        Parameters
        ----------
        values : numpy.ndarray
            ``[V]``, finite.

        Raises
        ------
        ValueError
            If it has another length, or is not finite.
        """
        if values.shape != self.mean.shape:
            raise ValueError(f"a map of {values.shape} voxels does not fit sums of {self.mean.shape}")
        if not np.isfinite(values).all():
            raise ValueError("the map holds NaN or infinity")
        self.count += 1
        change = values - self.mean
        self.mean += change / self.count
        self.squares += change * (values - self.mean)
        if values.any():
            self.strongest += strongest_part(values)

    def merge(self, other: "MapSums") -> None:
        """Add the maps of another part of the group.

        Raises
        ------
        ValueError
            If it has another number of voxels.
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
        """Its root."""
        return np.sqrt(self.variance)

    @property
    def share(self) -> np.ndarray:
        """Share of the maps whose strongest 5% hold the voxel, float64 ``[V]``, 0 to 1."""
        return self.strongest / max(1, self.count)
