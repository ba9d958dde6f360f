"""Deletion and insertion at a baseline that moves: every step changes the scan of the step before."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from pyadx import ops
from pyadx.inference.errors import UntraceableError
from pyadx.inference.incremental.scorer import IncrementalScorer
from pyadx.inference.score import Target
from pyadx.inference.segments import distinct_segments

_LARGEST_BOX = 0.3  # of the scan, on average: groups that are spread further are not worth a trace
_LEAST_GAIN = 2.0  # predicted: whole forwards run in batches, steps run one by one
_LARGEST_DRIFT = 1e-5  # of the score's range: what rounding may do to the last step


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
    """Return the scores of deletion, then of insertion, float64 ``[2 * (steps + 1)]``.

    Parameters
    ----------
    model, scan, target, fill
        As in `pyadx.evaluation.deletion_insertion`.
    ranks : Tensor
        int32 ``[D, H, W]``: 1 for the group that goes first to ``steps``, 0 for voxels that stay.
    steps : int
        Groups.
    always : bool
        Whether to walk where whole forwards are predicted to be faster, too.
    options : dict
        Of `pyadx.inference.IncrementalScorer`.

    Returns
    -------
    ndarray or None
        None where whole forwards are faster or rounding adds up, or the model cannot be traced.

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
    # Groups that change no voxel leave the score as it is.
    places = regions.inverse
    order = places[places >= 0]
    empty = scorer.filled(regions)
    deletion = np.append(scorer.reference, scorer.commit(regions.part(order), empty))
    drift = scorer.rebase(empty)
    insertion = np.append(scorer.reference, scorer.commit(regions.part(order), scan))
    drift = max(drift, scorer.rebase(scan))
    if not always and drift > _LARGEST_DRIFT * np.ptp(deletion):
        return None
    # Both ends were scored afresh.
    deletion[-1], insertion[-1] = insertion[0], deletion[0]
    seen = np.append(0, np.cumsum(places >= 0))
    return np.concatenate([deletion[seen], insertion[seen]])
