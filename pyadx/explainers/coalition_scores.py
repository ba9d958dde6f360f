"""Scores of coalitions: scans in which some regions are present and the others are filled.

One baseline moves from coalition to coalition. Each region that is filled or brought back is a commit,
which costs a fraction of a forward pass. If so many regions change that a full forward pass is cheaper,
the model runs on the new scan instead.
"""

import numpy as np
import torch
from torch import Tensor

from pyadx.explainers.walks import ends_of
from pyadx.inference.engines import RegionScorer
from pyadx.inference.regions import Regions

# Predicted cost of commits, in forward passes, above which the model runs on the new scan instead. That
# costs one pass for the score, and another for the cached maps if a commit follows, which counts as half.
_RESTART_COST = 1.5
_LARGEST_DRIFT = 1e-4  # share of the whole change; beyond it cached maps are recomputed more often
_FIRST_CHECK, _LEAST_CHECK, _LAST_CHECK = 64, 8, 4096  # commits between two checks of the rounding error
_TOGETHER = 4096  # coalitions that are sorted together: the time grows with the square


class Coalitions:
    """Scores coalitions of regions of one scan.

    Parameters
    ----------
    scorer : RegionScorer
        Scorer of the scan with no region filled.
    regions : Regions
        From `pyadx.inference.segments.distinct_segments`. Its ``inverse`` maps players to regions.

    Attributes
    ----------
    ends : Ends
        Scan and score with all regions present, and with none.
    drift : float
        Largest rounding error of a score at the checks made so far.
    commits, forwards : int
        Commits of single regions, and full forward passes that replaced several of them.
    """

    def __init__(self, scorer: RegionScorer, regions: Regions) -> None:
        self._scorer, self._regions = scorer, regions
        self._costs = 1 / scorer.gains(regions.boxes)  # in forwards
        self.ends = ends_of(scorer, regions)
        self._there = np.zeros(len(regions.boxes), bool)
        self.drift, self.commits, self.forwards = 0.0, 0, 0
        self._check, self._unchecked = _FIRST_CHECK, 0

    def scores(self, present: np.ndarray) -> np.ndarray:
        """Score coalitions.

        Parameters
        ----------
        present : ndarray
            bool ``[n, K]``: which players are present.

        Returns
        -------
        ndarray
            float64 ``[n]``.
        """
        places = self._regions.inverse
        rows = np.zeros((len(present), len(self._there)), bool)
        rows[:, places[places >= 0]] = present[:, places >= 0]
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        found = np.empty(len(distinct))
        for block in self._blocks(distinct):
            for place in _route(distinct[block], self._there, self._costs):
                found[block[place]] = self._move_to(distinct[block[place]])
        return found[inverse.reshape(-1)]

    def _blocks(self, rows: np.ndarray) -> list[np.ndarray]:
        """Divide many coalitions into blocks of similar ones."""
        # Neighbours in a Gray code rarely differ in the first bits, so these stand for the costly regions.
        ranks = np.logical_xor.accumulate(rows[:, np.argsort(-self._costs, kind="stable")], axis=1)
        order = np.lexsort(ranks.T[::-1]) if rows.shape[1] else np.arange(len(rows))
        return [order[start : start + _TOGETHER] for start in range(0, len(order), _TOGETHER)]

    def _move_to(self, wanted: np.ndarray) -> float:
        """Move the baseline to a coalition, and return its score."""
        changes = np.flatnonzero(self._there != wanted)
        if self._costs[changes].sum() > _RESTART_COST:
            self._scorer.rebase(self._composed(wanted))
            self._unchecked = 0
            self.forwards += 1
        else:
            for values, part in (
                (self.ends.reference, changes[~wanted[changes]]),
                (self.ends.scan, changes[wanted[changes]]),
            ):
                if len(part):
                    self._scorer.commit(self._regions.part(part), values)
            self.commits += len(changes)
            self._unchecked += len(changes)
        self._there = wanted.copy()
        if self._unchecked >= self._check:
            self._check_rounding()
        return self._scorer.reference

    def _composed(self, wanted: np.ndarray) -> Tensor:
        """Return the scan of a coalition, ``[C, D, H, W]``."""
        segments = self._regions.segments
        assert segments is not None
        there = np.zeros(int(segments.labels.max()) + 1, bool)
        for (low, high), own in zip(segments.intervals, wanted, strict=True):
            there[low:high] = own
        inside = torch.from_numpy(there).to(segments.labels.device)[segments.labels]
        return torch.where(inside, self.ends.scan, self.ends.reference)

    def _check_rounding(self) -> None:
        """Recompute cached maps; adapt how often that happens to the rounding error of the score."""
        drift = self._scorer.rebase()
        self.drift = max(self.drift, drift)
        allowed = _LARGEST_DRIFT * abs(self.ends.change)
        if drift > allowed:
            self._check = max(self._check // 4, _LEAST_CHECK)
        elif drift < allowed / 4:
            self._check = min(self._check * 2, _LAST_CHECK)
        self._unchecked = 0


def _route(rows: np.ndarray, start: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return an order of coalitions in which few and cheap regions change, always going to the nearest one.

    Parameters
    ----------
    rows : ndarray
        The coalitions, bool ``[n, R]``.
    start : ndarray
        bool ``[R]``: the coalition of the current baseline.
    costs : ndarray
        float64 ``[R]``: cost of changing each region.
    """
    weighed = rows * costs
    totals = weighed.sum(1)
    route = np.empty(len(rows), np.int64)
    left = np.zeros(len(rows))
    at = start
    for step in range(len(rows)):
        away = costs[at].sum() + totals - 2 * (weighed @ at)
        nearest = int(np.argmin(away + left))
        route[step], left[nearest], at = nearest, np.inf, rows[nearest]
    return route
