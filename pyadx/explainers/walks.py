"""Shapley values by walking: regions are filled one after another, and brought back in the same order.

Filling in an order gives every region's contribution on top of those that are still there; bringing back
gives the contribution on top of those that are there again. The second is the reversed order of the first,
so that a walk there and back is an antithetic pair of orders (Mitchell et al., "Sampling permutations for
Shapley value estimation", JMLR 2022). Each step is a commit (`pyadx.inference.baseline`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.engines import RegionScorer
from pyadx.inference.regions import Regions

Pair = tuple[np.ndarray, np.ndarray, float]  # contributions on the way there, and back; drift

_LEAST_PAIRS = 4  # before a standard error is believed
_LARGEST_DRIFT = 1e-4  # of the whole change, before maps are made anew in the middle of a walk


@dataclass(frozen=True, eq=False)
class Ends:
    """Where walks begin and turn.

    Attributes
    ----------
    scan, reference : Tensor
        ``[C, D, H, W]``: with no region filled, and with all of them.
    score, reference_score : float
        Of the two.
    """

    scan: Tensor
    reference: Tensor
    score: float
    reference_score: float

    @property
    def change(self) -> float:
        """What the regions share out."""
        return self.score - self.reference_score


def ends_of(scorer: RegionScorer, regions: Regions) -> Ends:
    """Return the ends of walks that begin at a scorer's scan; the scorer is left at the other end."""
    start, reference, score = scorer.volume.clone(), scorer.filled(regions), scorer.reference
    scorer.rebase(reference)
    return Ends(start, reference, score, scorer.reference)


def walk(scorer: RegionScorer, regions: Regions, order: np.ndarray, ends: Ends) -> Pair:
    """Fill regions in an order, and bring them back in the same; the scorer stands at the scan.

    Returns
    -------
    leaving, coming : ndarray
        float64 ``[R]``: how far the score fell when a region was filled, and rose when it came back.
    drift : float
        How far rounding had moved the score at the two ends; it is corrected there.
    """
    down, drift = _steps(scorer, regions, order, ends.reference, ends.score, ends.reference_score)
    if drift > _LARGEST_DRIFT * abs(ends.change):
        scorer.rebase()
    up, again = _steps(scorer, regions, order, ends.scan, ends.reference_score, ends.score)
    return -down, up, max(drift, again)


def _steps(
    scorer: RegionScorer,
    regions: Regions,
    order: np.ndarray,
    towards: Tensor,
    start: float,
    end: float,
) -> tuple[np.ndarray, float]:
    scores = scorer.commit(regions.part(order), towards).numpy()
    drift = abs(float(scores[-1]) - end)
    scores[-1] = end  # so that the steps add up to the whole change
    steps = np.empty(len(order))
    steps[order] = np.diff(scores, prepend=start)
    return steps, drift


@dataclass(frozen=True, eq=False)
class Estimate:
    """Means over pairs of orders.

    Attributes
    ----------
    values, errors : ndarray
        float64 ``[R]``: means, and their standard errors (NaN for a single pair).
    pairs : int
        Pairs of orders.
    drift : float
        Largest drift of any walk.
    exact : bool
        Whether these are no means: every coalition that matters was scored.
    """

    values: np.ndarray
    errors: np.ndarray
    pairs: int
    drift: float
    exact: bool = False


def estimate(
    draw: Callable[[int], Pair],
    pairs: int,
    error: float | None,
    advance: Callable[[int], None],
) -> Estimate:
    """Draw pairs of orders until there are enough.

    Parameters
    ----------
    draw : callable
        Given the number of a pair, gives what `walk` gives.
    pairs : int
        Pairs at most.
    error : float, optional
        Stop when no standard error is larger.
    advance : callable
        Told after each pair.
    """
    found: list[np.ndarray] = []
    drifts = []
    errors = np.zeros(0)
    for number in range(pairs):
        leaving, coming, drift = draw(number)
        found.append((leaving + coming) / 2)
        drifts.append(drift)
        errors = _standard_errors(found)
        advance(1)
        if error is not None and len(found) >= _LEAST_PAIRS and errors.max(initial=0.0) <= error:
            break
    return Estimate(np.mean(found, 0), errors, len(found), max(drifts))


def _standard_errors(found: list[np.ndarray]) -> np.ndarray:
    if len(found) < 2:
        return np.full_like(found[0], np.nan)
    return np.std(found, 0, ddof=1) / np.sqrt(len(found))


def spread_over(numbers: np.ndarray, values: np.ndarray, per_voxel: bool) -> Tensor:
    """Return the value of every voxel's region, float32 ``[D, H, W]``; divided by its voxels if asked."""
    sizes = np.bincount(numbers.reshape(-1), minlength=len(values) + 1)[1:]
    shown = values / np.maximum(sizes, 1) if per_voxel else values
    return torch.from_numpy(np.concatenate([[0.0], shown])[numbers].astype(np.float32))
