"""Score a list of regions in chunks. Finished chunks can be stored, so a stopped run can be resumed."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.regions import Regions
from pyadx.inference.score_store import ScoreStore

Wait = Callable[[], Tensor]
Launch = Callable[[Regions, Callable[[int], None]], Wait]
"""Starts scoring regions, reports their number for progress, and returns a function that waits for them."""


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
    """Score regions, one chunk after another.

    Parameters
    ----------
    regions : Regions
        The regions to score.
    scores : Tensor
        ``[R]``, filled in place. The scores of chunks that are not reached are left unchanged.
    launch : callable
        Starts scoring one chunk; see `Launch`.
    size : int
        Number of regions in a chunk.
    ahead : int
        How many chunks are launched before waiting for the scores of an earlier one. A GPU can then compute
        while the host prepares the next chunk.
    store : ScoreStore, optional
        File of finished chunks. Chunks that it already holds are not scored again.
    stop : callable
        Called before each chunk is scored. Once it returns True, no further chunk is scored.
    tell : callable
        Called with the number of regions just done.

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
            except BaseException:  # chunks are stored in order, so none can follow this one
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
    """Wait for the parts of a chunk, each given with its indices there; fill and return ``scores``."""
    for places, wait in launched:
        scores[torch.from_numpy(places).to(scores.device)] = wait()
    return scores
