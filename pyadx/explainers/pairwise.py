"""Interactions of pairs of regions: evidence that both hold, or that needs both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.explainers.game import Game
from pyadx.short_reprs import short_repr


@dataclass(frozen=True, eq=False)
class PairInteractions:
    """Interactions of every pair of some regions.

    Attributes
    ----------
    labels, names : tuple
        Numbers of the regions and what they are called, ``[N]``.
    matrix : ndarray
        float64 ``[N, N]``, symmetric: ``s(scan) - s(without i) - s(without j) + s(without i and j)``, in
        units of the score. Negative if the regions can replace each other: the score falls by more without
        both than the two single changes add up to. Positive if both are needed. NaN on the diagonal.
    """

    labels: tuple[int, ...]
    names: tuple[str, ...]
    matrix: np.ndarray

    __repr__ = short_repr

    def facts(self) -> dict[str, Any]:
        """Return everything as plain data; None on the diagonal."""
        rows = [[None if value != value else value for value in row] for row in self.matrix.tolist()]
        return {"labels": list(self.labels), "names": list(self.names), "matrix": rows}


def pair_interactions(
    game: Game, values: np.ndarray, count: int, chosen: Sequence[int] | None = None
) -> PairInteractions | None:
    """Measure the pairwise interactions of the strongest players, or of chosen ones.

    Parameters
    ----------
    game : Game
        The game. Its scorer is left at the scan.
    values : ndarray
        ``[K]``: values of the players. Those of largest absolute value are the strongest.
    count : int
        How many of the strongest players to measure.
    chosen : sequence of int, optional
        Indices of players to measure instead of the strongest.

    Returns
    -------
    PairInteractions or None
        None if there are fewer than two players to measure.
    """
    strongest = np.argsort(-np.abs(values), kind="stable")[:count].tolist()
    own = strongest if chosen is None else list(chosen)
    if len(own) < 2:
        return None
    matrix = _matrix(game, np.asarray(own, np.int64))
    labels = tuple(game.players.labels[i] for i in own)
    names = tuple(game.players.names[i] for i in own)
    return PairInteractions(labels, names, matrix)


def _matrix(game: Game, own: np.ndarray) -> np.ndarray:
    """Commit each player's region, score the others on that scan, and bring it back.

    Source: the discrete derivative of Grabisch and Roubens, "An axiomatic approach to the concept of
    interaction among players in cooperative games", 1999, in the presence of all other regions.
    """
    scan, filled = game.ends.scan, game.ends.reference
    scorer, regions = game.scorer, game.regions
    scorer.refill(filled)
    game.reset()

    def changes(chosen: np.ndarray) -> np.ndarray:
        scores = scorer.score_regions(regions.part(chosen), advance=lambda count: None)
        return scores.double().cpu().numpy()

    places = game.regions.inverse[own]
    matrix = np.zeros((len(own), len(own)))
    np.fill_diagonal(matrix, np.nan)
    live = np.flatnonzero(places >= 0)  # players that change no voxel interact with none
    for rank, i in enumerate(live[:-1]):
        later = live[rank + 1 :]
        scorer.commit(regions.part(places[[i]]), filled)
        matrix[i, later] = game.alone[own[later]] - changes(places[later])
        matrix[later, i] = matrix[i, later]
        scorer.commit(regions.part(places[[i]]), scan)
    return matrix
