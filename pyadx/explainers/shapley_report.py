"""What is known of the regions of a scan after their shares were worked out."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class ShapleyReport:
    """What every region of one scan contributes; arrays are in the order of ``labels``.

    Attributes
    ----------
    labels, names : tuple
        Number of every region in the label volume, and what it is called, ``[K]``.
    values : ndarray
        float64 ``[K]``: how much of the change of the score each region accounts for.
    errors : ndarray
        float64 ``[K]``: standard errors of the values; NaN where there are fewer than two pairs of orders.
    alone : ndarray
        float64 ``[K]``: how far the score falls when the region is filled in the scan, and no other one.
    first : ndarray
        float64 ``[K]``: how far it rises when the region comes back into the scan with all of them filled.
    voxels : ndarray
        int64 ``[K]``.
    score, reference_score : float
        Score of the scan, and of the scan with all regions filled. The values add up to their difference.
    pairs : int
        Pairs of opposite orders. With 0 values are two-sided occlusion: the mean of ``alone`` and
        ``first``.
    order : {"tree", "flat"}
        Which orders were drawn.
    drift : float
        Largest error that rounding had brought into the score at the end of a walk; it was corrected.
    incremental, full : int
        Regions that were scored by each engine.
    """

    labels: tuple[int, ...]
    names: tuple[str, ...]
    values: np.ndarray
    errors: np.ndarray
    alone: np.ndarray
    first: np.ndarray
    voxels: np.ndarray
    score: float
    reference_score: float
    pairs: int
    order: str
    drift: float
    incremental: int
    full: int

    @property
    def change(self) -> float:
        """What the regions share out."""
        return self.score - self.reference_score

    @property
    def gap(self) -> float:
        """What the values do not account for: 0 to rounding, but for two-sided occlusion."""
        return self.change - float(self.values.sum())

    @property
    def evaluations(self) -> int:
        """One per region and order, and one per region from either side."""
        return 2 * (self.pairs + 1) * len(self.labels)

    @property
    def evaluated(self) -> int:
        """Those of regions that change a voxel, and always the scan itself."""
        return max(1, 2 * (self.pairs + 1) * (self.incremental + self.full))

    @property
    def approximate(self) -> bool:
        """Never: orders are drawn, and the errors say how much that leaves open."""
        return False

    def facts(self) -> dict[str, Any]:
        """Return everything, as lists; None for what is not known."""

        def plain(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return [None if v != v else v for v in value.tolist()]
            return list(value) if isinstance(value, tuple) else value

        found = {name: plain(value) for name, value in vars(self).items()}
        return {**found, "change": self.change, "gap": self.gap}

    def summary(self) -> str:
        """Say what was shared out, and how well it is known."""
        known = f"{2 * self.pairs} orders" if self.pairs else "two-sided occlusion"
        if self.pairs > 1:
            known += f", standard errors up to {np.nanmax(self.errors):.2g}"
        return f"{len(self.labels)} regions share {self.change:.4g}; {known}; gap {self.gap:.2g}"
