"""Scores of coalitions: scans in which some regions are there and the others are filled.

One baseline moves from coalition to coalition. Regions that come or go are commits, which cost a share of a
forward each; where so many come or go that a whole forward is cheaper, the baseline starts anew there.
"""

import numpy as np
import torch
from torch import Tensor

from pyadx.explainers.walks import ends_of
from pyadx.inference.engines import RegionScorer
from pyadx.inference.regions import Regions

# Predicted forwards that changes may cost before the baseline starts anew: one for the score, and half of
# the one that makes the maps again, which is lost only where a commit follows.
_ANEW = 1.5
_LARGEST_DRIFT = 1e-4  # of the whole change, before maps are made anew more often
_FIRST_CHECK, _LEAST_CHECK, _LAST_CHECK = 64, 8, 4096  # commits until rounding is looked at
_TOGETHER = 4096  # coalitions that are put in order together: every one is compared with every other


class Coalitions:
    """Scores coalitions of regions of one scan.

    Parameters
    ----------
    scorer : RegionScorer
        Of the scan, with no region filled.
    regions : Regions
        From `pyadx.inference.segments.distinct_segments`; ``inverse`` gives the players.

    Attributes
    ----------
    ends : Ends
        Scan and score with all regions there, and with none.
    drift : float
        How far rounding had moved a score at most, where that was looked at.
    commits, forwards : int
        Regions that came or went, and whole forwards that stood in for more of them.
    """

    def __init__(self, scorer: RegionScorer, regions: Regions) -> None:
        self._scorer, self._regions = scorer, regions
        self._costs = 1 / scorer.gains(regions.boxes)  # in forwards
        self.ends = ends_of(scorer, regions)
        self._there = np.zeros(len(regions.boxes), bool)
        self.drift, self.commits, self.forwards = 0.0, 0, 0
        self._check, self._unchecked = _FIRST_CHECK, 0

    def scores(self, present: np.ndarray) -> np.ndarray:
        """Score coalitions, bool ``[n, K]``: which players are there. Gives float64 ``[n]``."""
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
        # In the order of a Gray code neighbours differ least in what is first; costly regions come there.
        ranks = np.logical_xor.accumulate(rows[:, np.argsort(-self._costs, kind="stable")], axis=1)
        order = np.lexsort(ranks.T[::-1]) if rows.shape[1] else np.arange(len(rows))
        return [order[start : start + _TOGETHER] for start in range(0, len(order), _TOGETHER)]

    def _move_to(self, wanted: np.ndarray) -> float:
        """Move the baseline to a coalition; return its score."""
        changes = np.flatnonzero(self._there != wanted)
        if self._costs[changes].sum() > _ANEW:
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
            self._look_at_rounding()
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

    def _look_at_rounding(self) -> None:
        """Make maps anew; do so more often if rounding had moved the score, and else less often."""
        drift = self._scorer.rebase()
        self.drift = max(self.drift, drift)
        allowed = _LARGEST_DRIFT * abs(self.ends.change)
        if drift > allowed:
            self._check = max(self._check // 4, _LEAST_CHECK)
        elif drift < allowed / 4:
            self._check = min(self._check * 2, _LAST_CHECK)
        self._unchecked = 0


def _route(rows: np.ndarray, start: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return an order of coalitions in which few and cheap regions change: always the nearest one next.

    Parameters
    ----------
    rows : ndarray
        bool ``[n, R]``.
    start : ndarray
        bool ``[R]``: where the baseline is.
    costs : ndarray
        float64 ``[R]``: of a change of each region.
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
