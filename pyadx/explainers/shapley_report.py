"""What is known of the regions of a scan after their shares were worked out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.explainers.coalitions import GameSize
from pyadx.explainers.pairwise import PairInteractions
from pyadx.short_reprs import short_repr


@dataclass(frozen=True, eq=False)
class ShapleyReport:
    """What every region of one scan contributes; arrays are in the order of ``labels``.

    Attributes
    ----------
    labels, names : tuple
        Number of every region in the label volume, and what it is called, ``[K]``.
    members : tuple of tuple of int
        The numbers that every player consists of, ``[K]``: several where groups are players.
    values : ndarray
        float64 ``[K]``: how much of the change of the score each region accounts for.
    errors : ndarray
        float64 ``[K]``: standard errors of the values; 0 where values are exact, NaN where there are fewer
        than two pairs of orders.
    alone : ndarray
        float64 ``[K]``: how far the score falls when the region is filled in the scan, and no other one.
    first : ndarray
        float64 ``[K]``: how far it rises when the region comes back into the scan with all of them filled.
    voxels : ndarray
        int64 ``[K]``.
    score, reference_score : float
        Score of the scan, and of the scan with all regions filled. The values add up to their difference.
    pairs : int
        Pairs of opposite orders. With 0, and unless they are exact, values are two-sided occlusion: the
        mean of ``alone`` and ``first``.
    exact : bool
        Whether every coalition that matters was scored.
    order : {"tree", "balanced", "flat"}
        Which orders count.
    size : GameSize
        Coalitions that exact values take, and the depth of the tree.
    pairwise : PairInteractions, optional
        Of the strongest regions, or those that were chosen.
    drift : float
        Largest error that rounding had brought into the score at the end of a walk; it was corrected.
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
        """What the regions share out."""
        return self.score - self.reference_score

    @property
    def gap(self) -> float:
        """What the values do not account for: 0 to rounding, but for two-sided occlusion."""
        return self.change - float(self.values.sum())

    @property
    def evaluations(self) -> int:
        """One per coalition, or per region and order, and one per region from either side."""
        return self._scored(len(self.labels))

    def _scored(self, regions: int) -> int:
        return 2 * regions + (self.size.coalitions if self.exact else 2 * self.pairs * regions)

    @property
    def evaluated(self) -> int:
        """Those of regions that change a voxel, and always the scan itself."""
        return max(1, self._scored(self.incremental + self.full))

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

        own = {name: value for name, value in vars(self).items() if name not in ("size", "pairwise")}
        coalitions = self.size.coalitions
        return {
            **{name: plain(value) for name, value in own.items()},
            "change": self.change,
            "gap": self.gap,
            "depth": self.size.depth,
            # As a float where JSON readers would lose digits of the integer anyway.
            "coalitions": coalitions if coalitions < 2**53 else float(coalitions),
            "pairwise": None if self.pairwise is None else self.pairwise.facts(),
        }

    def summary(self) -> str:
        """Say what was shared out, and how well it is known."""
        known = f"{2 * self.pairs} orders" if self.pairs else "two-sided occlusion"
        if self.exact:
            known = f"exact, {self.size.words}"
        if self.pairs > 1:
            known += f", standard errors up to {np.nanmax(self.errors):.2g}"
        return f"{len(self.labels)} regions share {self.change:.4g}; {known}; gap {self.gap:.2g}"
