"""Walking over a list of regions chunk by chunk; each is stored, so that a run can go on where it ended."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.regions import Regions
from pyadx.inference.score_store import ScoreStore

Wait = Callable[[], Tensor]
Launch = Callable[[Regions, Callable[[int], None]], Wait]
"""Starts scoring regions, tells how many are under way, and returns what waits for their scores."""


def in_chunks(
    regions: Regions,
    scores: Tensor,
    launch: Launch,
    size: int,
    *,
    ahead: int = 0,
    store: ScoreStore | None = None,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """Score regions, chunk by chunk.

    Parameters
    ----------
    regions : Regions
        What is scored.
    scores : Tensor
        ``[R]``, written; chunks that are not reached are left as they are.
    launch : callable
        Scores one chunk.
    size : int
        Regions of a chunk.
    ahead : int
        Chunks that are launched before the scores of an earlier one are waited for: a GPU computes while
        the host prepares what comes next.
    store : ScoreStore, optional
        Holds finished chunks; those it has already are not scored again.
    stop : callable
        Asked before every chunk; the chunks after it says yes are not scored.
    tell : callable
        Told how many regions are done.

    Returns
    -------
    Tensor
        ``scores``.
    """
    under_way: list[tuple[slice, Wait]] = []

    def collect(most: int) -> None:
        while len(under_way) > most:
            own, wait = under_way.pop(0)
            try:
                scores[own] = wait()
                if store is not None:
                    store.append(scores[own])
            except BaseException:  # chunks are stored in order, and this one is missing
                under_way.clear()
                raise

    try:
        for index, start in enumerate(range(0, len(scores), size)):
            own = slice(start, start + size)
            chunk = regions.part(own)
            if store is not None and index < store.chunks:
                scores[own] = store.read(index).to(scores)
                tell(len(chunk.boxes))
                continue
            if stop():
                break
            under_way.append((own, launch(chunk, tell)))
            collect(ahead)
    finally:
        collect(0)
    return scores


def gathered(scores: Tensor, launched: Sequence[tuple[np.ndarray, Wait]]) -> Tensor:
    """Wait for parts of a chunk, given with the places that they have in it; fill and return ``scores``."""
    for places, wait in launched:
        scores[torch.from_numpy(places).to(scores.device)] = wait()
    return scores
