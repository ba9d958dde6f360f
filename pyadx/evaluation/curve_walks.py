"""Deletion and insertion curves scored step by step: each step changes only the scan of the step before.

This needs the incremental engine with a moving baseline. Where full forward passes are faster, the caller
falls back to them.
"""

from typing import Any

import numpy as np
from torch import Tensor, nn

from pyadx import ops
from pyadx.inference.errors import UntraceableError
from pyadx.inference.incremental.scorer import IncrementalScorer
from pyadx.inference.score import Target
from pyadx.inference.segments import distinct_segments

_LARGEST_BOX = 0.3  # mean bounding box as a share of the scan; above it, tracing the model is not worth it
_LEAST_GAIN = 2.0  # least predicted speed-up; above 1, because full forwards are batched and steps are not
_LARGEST_DRIFT = 1e-5  # largest rounding error at the last step, as a share of the score's range


def walked_curves(
    model: nn.Module,
    scan: Tensor,
    target: Target,
    ranks: Tensor,
    steps: int,
    fill: ops.Fill,
    always: bool,
    options: dict[str, Any],
) -> np.ndarray | None:
    """Score the deletion curve and then the insertion curve, one step after the other.

    Parameters
    ----------
    model, scan, target, fill
        As in `pyadx.evaluation.deletion_insertion`.
    ranks : Tensor
        int32 ``[D, H, W]``: the step at which a voxel is deleted, 1 to ``steps``; 0 for voxels that stay.
    steps : int
        Number of groups of voxels.
    always : bool
        Score step by step even where full forward passes are predicted to be faster.
    options : dict
        Keyword arguments of `pyadx.inference.IncrementalScorer`.

    Returns
    -------
    ndarray or None
        Scores of deletion, then of insertion, float64 ``[2 * (steps + 1)]``. None if full forward passes
        are predicted to be faster, if rounding errors add up, or if the model cannot be traced.

    Raises
    ------
    UntraceableError
        If the model cannot be traced and ``always`` is set.
    """
    values = ops.fill_tensor(fill, scan)
    first = np.arange(1, steps + 1)
    regions = distinct_segments(scan, ranks, np.stack([first, first + 1], 1), values)
    sides = (regions.boxes[:, 3:] - regions.boxes[:, :3]).astype(np.float64)
    if not always and (not len(sides) or sides.prod(1).mean() > _LARGEST_BOX * scan[0].numel()):
        return None
    try:
        scorer = IncrementalScorer(model, scan, target, fill=values, **options)
    except UntraceableError:
        if always:
            raise
        return None
    gains = scorer.gains(regions.boxes)
    if not always and 1 / (1 / gains).mean() < _LEAST_GAIN:
        return None
    # distinct_segments drops groups that change no voxel (place -1); they keep the previous score.
    places = regions.inverse
    order = places[places >= 0]
    empty = scorer.filled(regions)
    deletion = np.append(scorer.reference, scorer.commit(regions.part(order), empty))
    drift = scorer.rebase(empty)
    insertion = np.append(scorer.reference, scorer.commit(regions.part(order), scan))
    drift = max(drift, scorer.rebase(scan))
    if not always and drift > _LARGEST_DRIFT * np.ptp(deletion):
        return None
    # The end of each walk accumulates rounding. The start of the other one is the same scan, scored afresh.
    deletion[-1], insertion[-1] = insertion[0], deletion[0]
    seen = np.append(0, np.cumsum(places >= 0))
    return np.concatenate([deletion[seen], insertion[seen]])
