"""Shapley values from walks: regions are filled one after another, then brought back in the same order.

Filling a region measures its contribution in the presence of the regions that are filled later. Bringing it
back measures its contribution in the presence of those brought back earlier. The two halves of a walk thus
belong to an order and its reverse, an antithetic pair (Mitchell et al., "Sampling permutations for Shapley
value estimation", JMLR 2022). Each step is a commit (`pyadx.inference.baseline`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.engines import RegionScorer
from pyadx.inference.regions import Regions

Pair = tuple[np.ndarray, np.ndarray, float]  # contributions on the way to the filled scan, and back; drift

_LEAST_PAIRS = 4  # before standard errors may stop the sampling
_LARGEST_DRIFT = 1e-4  # share of the whole change; beyond it cached maps are recomputed half way


@dataclass(frozen=True, eq=False)
class Ends:
    """The two ends of a walk: the scan, and the scan with all regions filled.

    Attributes
    ----------
    scan, reference : Tensor
        ``[C, D, H, W]``: the scan with no region filled, and with all of them.
    score, reference_score : float
        Scores of the two.
    """

    scan: Tensor
    reference: Tensor
    score: float
    reference_score: float

    @property
    def change(self) -> float:
        """The change of the score that the values add up to."""
        return self.score - self.reference_score


def ends_of(scorer: RegionScorer, regions: Regions) -> Ends:
    """Return the ends of walks from a scorer's scan. The scorer is left at the filled scan."""
    start, reference, score = scorer.volume.clone(), scorer.filled(regions), scorer.reference
    scorer.rebase(reference)
    return Ends(start, reference, score, scorer.reference)


def walk(scorer: RegionScorer, regions: Regions, order: np.ndarray, ends: Ends) -> Pair:
    """Fill regions in the given order, then bring them back in the same order.

    Parameters
    ----------
    scorer : RegionScorer
        At the scan with no region filled; it is left there.
    regions : Regions
        The regions.
    order : ndarray
        Integers: indices of the regions to fill, in order.
    ends : Ends
        Both ends of the walk.

    Returns
    -------
    leaving, coming : ndarray
        float64 ``[R]``: how much the score fell when a region was filled, and rose when it came back.
    drift : float
        Rounding error of the score at the two ends, the larger one. It is corrected there.
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
    scores[-1] = end  # corrects the rounding error: steps add up to the whole change
    steps = np.empty(len(order))
    steps[order] = np.diff(scores, prepend=start)
    return steps, drift


@dataclass(frozen=True, eq=False)
class Estimate:
    """Values of all regions: means over pairs of orders, or exact values.

    Attributes
    ----------
    values, errors : ndarray
        float64 ``[R]``: the values and their standard errors (NaN for fewer than two pairs, 0 if exact).
    pairs : int
        Pairs of orders that were drawn.
    drift : float
        Largest rounding error of the score at the end of a walk.
    exact : bool
        Whether values are exact: every coalition that matters was scored.
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
    """Estimate values from pairs of orders.

    Parameters
    ----------
    draw : callable
        Returns the result of `walk` for the number of a pair.
    pairs : int
        Most pairs.
    error : float, optional
        Stop once no standard error is larger, after at least four pairs.
    advance : callable
        Called with 1 after each pair.
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
    """Return the map of regions' values, float32 ``[D, H, W]``.

    Parameters
    ----------
    numbers : ndarray
        Integers ``[D, H, W]``: region of each voxel from 1, and 0 outside.
    values : ndarray
        ``[K]``.
    per_voxel : bool
        Divide each value by the number of voxels of its region.
    """
    sizes = np.bincount(numbers.reshape(-1), minlength=len(values) + 1)[1:]
    shown = values / np.maximum(sizes, 1) if per_voxel else values
    return torch.from_numpy(np.concatenate([[0.0], shown])[numbers].astype(np.float32))
