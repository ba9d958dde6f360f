"""What the parts of a segment hold in common: a subtraction of scores that are there anyway.

Occlusion of a hierarchy scores a segment and its parts. ``[s - s(-AB)] - [s - s(-A)] - [s - s(-B)]`` is
positive where A and B stand in for each other, as two pieces of cortex do: filling either changes little,
filling both a lot. It is negative where each alone already takes away what both would. Source: the
interaction of Grabisch and Roubens, "An axiomatic approach to the concept of interaction", 1999, of the
coalition that holds all other regions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.short_reprs import short_repr

_SHOWN = 10  # in sidecars


@dataclass(frozen=True, eq=False)
class MergeInteractions:
    """Segments whose parts were scored, too; arrays are in the order of the hierarchy's regions.

    Attributes
    ----------
    regions : ndarray
        int64 ``[M, 2]``: leaves ``lo <= leaf < hi`` of every segment.
    parts : ndarray
        int64 ``[M]``: parts that came together in it.
    together, alone : ndarray
        float64 ``[M]``: change of the score when the segment is filled, and the sum of the changes when
        each of its parts is.
    """

    regions: np.ndarray
    parts: np.ndarray
    together: np.ndarray
    alone: np.ndarray

    __repr__ = short_repr

    @property
    def values(self) -> np.ndarray:
        """The interactions, float64 ``[M]``: 0 where changes of the parts add up."""
        return self.together - self.alone

    def strongest(self, count: int = _SHOWN) -> list[dict[str, Any]]:
        """Return the segments whose parts interact most, the strongest first, as plain data."""
        order = np.argsort(-np.abs(self.values), kind="stable")[:count]
        return [
            {
                "leaves": self.regions[place].tolist(),
                "parts": int(self.parts[place]),
                "together": float(self.together[place]),
                "alone": float(self.alone[place]),
                "interaction": float(self.values[place]),
            }
            for place in order
        ]


def merge_interactions(regions: np.ndarray, scores: np.ndarray) -> MergeInteractions:
    """Compare every segment with the parts that it is made of.

    Parameters
    ----------
    regions : ndarray
        ``[R, 2]``: nested intervals of leaves, as `pyadx.segmentation.Hierarchy.regions` has them.
    scores : ndarray
        float64 ``[R]``: signed changes of the score.

    Returns
    -------
    MergeInteractions
        Of segments whose parts cover them.
    """
    regions = np.asarray(regions, np.int64)
    # A segment comes before its parts, and parts one after another.
    order = np.lexsort((-regions[:, 1], regions[:, 0]))
    parts = np.zeros(len(regions), np.int64)
    covered = np.zeros(len(regions), np.int64)
    alone = np.zeros(len(regions))
    open_: list[int] = []
    for place in order:
        low, high = regions[place]
        while open_ and regions[open_[-1], 1] <= low:
            open_.pop()
        if open_:
            parent = open_[-1]
            parts[parent] += 1
            covered[parent] += high - low
            alone[parent] += scores[place]
        open_.append(int(place))
    whole = (parts > 1) & (covered == regions[:, 1] - regions[:, 0])
    return MergeInteractions(regions[whole], parts[whole], scores[whole].astype(np.float64), alone[whole])
