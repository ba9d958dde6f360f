"""Report of the Shapley values of one scan."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.explainers.coalitions import GameSize
from pyadx.explainers.pairwise import PairInteractions
from pyadx.short_reprs import short_repr


@dataclass(frozen=True, eq=False)
class ShapleyReport:
    """Shapley values of the regions of one scan. Arrays are in the order of ``labels``.

    Attributes
    ----------
    labels, names : tuple
        Number of each region in the label volume, and its name, ``[K]``.
    members : tuple of tuple of int
        All numbers of each player in the label volume, ``[K]``: several if groups are players.
    values : ndarray
        float64 ``[K]``: the values, in units of the score.
    errors : ndarray
        float64 ``[K]``: standard errors of the values; 0 if values are exact, NaN with fewer than two
        pairs of orders.
    alone : ndarray
        float64 ``[K]``: how much the score falls when only this region is filled.
    first : ndarray
        float64 ``[K]``: how much the score rises when only this region is brought back into the scan with
        all regions filled.
    voxels : ndarray
        int64 ``[K]``: voxels of each region.
    score, reference_score : float
        Score of the scan, and of the scan with all regions filled. Except for two-sided occlusion the
        values add up to their difference.
    pairs : int
        Pairs of an order and its reverse. If 0, and values are not exact, they are two-sided occlusion: the
        mean of ``alone`` and ``first``.
    exact : bool
        Whether every coalition that matters was scored.
    order : {"tree", "balanced", "flat"}
        The orders that count.
    size : GameSize
        Coalitions that exact values take, and the depth of the tree.
    pairwise : PairInteractions, optional
        Interactions of the strongest regions, or of those that were chosen.
    drift : float
        Largest rounding error of the score at the end of a walk. It was corrected.
    incremental, full : int
        Regions that were scored by each engine.
    """

    labels: tuple[int, ...]
    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    values: np.ndarray
    errors: np.ndarray
    alone: np.ndarray
    first: np.ndarray
    voxels: np.ndarray
    score: float
    reference_score: float
    pairs: int
    exact: bool
    order: str
    size: GameSize
    pairwise: PairInteractions | None
    drift: float
    incremental: int
    full: int

    __repr__ = short_repr

    @property
    def change(self) -> float:
        """The change of the score that the values divide."""
        return self.score - self.reference_score

    @property
    def gap(self) -> float:
        """Change minus the sum of the values: 0 up to rounding, except for two-sided occlusion."""
        return self.change - float(self.values.sum())

    @property
    def evaluations(self) -> int:
        """One per coalition, or per region and order, plus two per region for ``alone`` and ``first``."""
        return self._scored(len(self.labels))

    def _scored(self, regions: int) -> int:
        return 2 * regions + (self.size.coalitions if self.exact else 2 * self.pairs * regions)

    @property
    def evaluated(self) -> int:
        """As `evaluations`, for regions that change a voxel only; at least 1 for the scan itself."""
        return max(1, self._scored(self.incremental + self.full))

    @property
    def approximate(self) -> bool:
        """Never: values from drawn orders have standard errors."""
        return False

    def facts(self) -> dict[str, Any]:
        """Return everything as plain data, with None in place of NaN."""

        def plain(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return [None if v != v else v for v in value.tolist()]
            return list(value) if isinstance(value, tuple) else value

        own = {name: value for name, value in vars(self).items() if name not in ("size", "pairwise")}
        coalitions = self.size.coalitions
        return {
            **{name: plain(value) for name, value in own.items()},
            "change": self.change,
            "gap": self.gap,
            "depth": self.size.depth,
            # JSON readers lose digits of larger integers.
            "coalitions": coalitions if coalitions < 2**53 else float(coalitions),
            "pairwise": None if self.pairwise is None else self.pairwise.facts(),
        }

    def summary(self) -> str:
        """Say what change the regions share, how values were computed, and how exact they are."""
        known = f"{2 * self.pairs} orders" if self.pairs else "two-sided occlusion"
        if self.exact:
            known = f"exact, {self.size.words}"
        if self.pairs > 1:
            known += f", standard errors up to {np.nanmax(self.errors):.2g}"
        return f"{len(self.labels)} regions share {self.change:.4g}; {known}; gap {self.gap:.2g}"
