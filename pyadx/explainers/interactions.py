"""Interactions between the parts of a segment, from scores that SA-3DUCM computes anyway.

Occlusion of a hierarchy scores a segment AB and its parts A and B. The interaction
``[s - s(-AB)] - [s - s(-A)] - [s - s(-B)]`` is positive if A and B can replace each other, as two pieces of
cortex can: filling either changes little, filling both changes a lot. It is negative if filling one of them
already has the effect of filling both. The sign is opposite to that of
`pyadx.explainers.pairwise.PairInteractions`. Source: minus the discrete derivative of Grabisch and Roubens,
"An axiomatic approach to the concept of interaction among players in cooperative games", 1999, in the
presence of all other regions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.short_reprs import short_repr

_SHOWN = 10  # number of interactions in a sidecar


@dataclass(frozen=True, eq=False)
class MergeInteractions:
    """Interactions within segments whose parts were scored, too, in the order of the hierarchy's regions.

    Attributes
    ----------
    regions : ndarray
        int64 ``[M, 2]``: leaves ``lo <= leaf < hi`` of each segment.
    parts : ndarray
        int64 ``[M]``: number of parts of each segment.
    together, alone : ndarray
        float64 ``[M]``: change of the score when the segment is filled, and the sum of the changes when
        its parts are filled one at a time.
    """

    regions: np.ndarray
    parts: np.ndarray
    together: np.ndarray
    alone: np.ndarray

    __repr__ = short_repr

    @property
    def values(self) -> np.ndarray:
        """The interactions, float64 ``[M]``; 0 if the parts' changes add up to that of the segment."""
        return self.together - self.alone

    def strongest(self, count: int = _SHOWN) -> list[dict[str, Any]]:
        """Return the segments with the strongest interactions, the strongest first, as plain data."""
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
    """Compare the score of every segment with those of its parts.

    Parameters
    ----------
    regions : ndarray
        ``[R, 2]``: nested intervals of leaves, as in `pyadx.segmentation.Hierarchy.regions`.
    scores : ndarray
        float64 ``[R]``: signed changes of the score.

    Returns
    -------
    MergeInteractions
        Interactions of the segments that two or more parts cover completely.
    """
    regions = np.asarray(regions, np.int64)
    # In this order a segment comes right before its parts.
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
