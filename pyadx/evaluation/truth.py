"""Ground truth for heatmaps: scans of synthetic patients, each with a healthy twin.

The twin is the same scan without the disease, with the same noise. Only a synthetic cohort has such twins.
If a window of the patient's scan is replaced by the twin's, the change of the class score is exactly the
effect of the disease in that window on this network. Heatmaps are compared with these effects.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.evaluation.curves import precision_recall
from pyadx.evaluation.masks import bool_mask
from pyadx.evaluation.sanity import rank_correlation
from pyadx.explainers import Occlusion
from pyadx.explainers.perturbation import masks_per_scan
from pyadx.explainers.volumes import check_volume
from pyadx.inference.engines import Engine, RegionScorer
from pyadx.inference.outputs import Output
from pyadx.inference.score import Outputs, Score, Target
from pyadx.inference.segments import distinct_segments
from pyadx.ops.arrays import plain_array

STRONGEST = 0.05  # share of the voxels: the strongest part of the truth, which a map should find


def causal_truth(
    model: nn.Module,
    volume: Tensor | np.ndarray,
    twin: Tensor | np.ndarray,
    target: Target,
    *,
    window: int = 7,
    stride: int = 1,
    score: Score = "log_odds",
    outputs: Outputs = "logits",
    output: Output = None,
    forward_args: Any = None,
    engine: Engine = "auto",
    progress: bool | None = None,
) -> Tensor:
    """Return how far the class score falls when the window around each voxel comes from the healthy twin.

    ``T(v) = s(V) - s(V with the window at v taken from the twin)`` is positive where the disease raises the
    class score. Windows in which scan and twin are equal get exactly 0 and are not scored.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores. Its state is restored afterwards.
    volume, twin : Tensor or numpy.ndarray
        ``[C, D, H, W]`` or ``[1, C, D, H, W]``. Both need the same intensity scaling: scale the twin like
        the scan (`pyadx.data.inputs.prepared_volume` with ``like``), not by its own brightest voxel.
    target : int, str or None
        Class to score; ``None`` takes the class predicted for the scan.
    window, stride : int
        Window size and distance between windows, in voxels, as for `pyadx.Occlusion`.
    score, outputs, output, forward_args, engine, progress
        As for `pyadx.Occlusion`. The default score is ``log_odds``: unlike probabilities, it does not
        saturate where the network is confident.

    Returns
    -------
    Tensor
        float32 ``[D, H, W]``, exact at the centres of the windows and interpolated linearly between them.

    Raises
    ------
    TypeError, ValueError
        If shapes do not match each other or the model, or if scan and twin are equal everywhere.
    """
    scan, healthy = _pair(model, volume, twin)
    explain = Occlusion(
        model, window, stride, healthy, engine, signed=True, score=score, outputs=outputs, output=output,
        progress=progress,
    )  # fmt: skip
    return explain(scan[None], target, forward_args=forward_args)[0]


def region_truth(
    model: nn.Module,
    volume: Tensor | np.ndarray,
    twin: Tensor | np.ndarray,
    regions: Mapping[str, np.ndarray],
    target: Target,
    *,
    score: Score = "log_odds",
    outputs: Outputs = "logits",
    output: Output = None,
    forward_args: Any = None,
) -> dict[str, float]:
    """Return how far the class score falls when a whole region comes from the healthy twin.

    Parameters
    ----------
    model, volume, twin, target, score, outputs, output, forward_args
        As for `causal_truth`.
    regions : mapping
        Region name to bool mask ``[D, H, W]``.

    Returns
    -------
    dict
        Region name to ``s(V) - s(V with the region taken from the twin)``; 0 if the two are equal in it.

    Raises
    ------
    TypeError, ValueError
        As `causal_truth`, or if a mask has another shape or holds no voxel.
    """
    scan, healthy = _pair(model, volume, twin)
    scorer = RegionScorer(
        "full", model, scan, target, fill=healthy, signed=True, score=score, outputs=outputs,
        output=output, forward_args=forward_args,
    )  # fmt: skip
    found = {}
    for name, mask in regions.items():
        (inside,) = masks_per_scan(mask, scan[None])
        assert inside is not None
        joint = distinct_segments(scorer.volume, inside.astype(np.int32), [(1, 2)], scorer.fill)
        found[name] = float(joint.spread(scorer.score_regions(joint))[0])
    return found


def _pair(
    model: nn.Module, volume: Tensor | np.ndarray, twin: Tensor | np.ndarray
) -> tuple[Tensor, Tensor]:
    """Check scan and twin, and return both as ``[C, D, H, W]``."""
    scans = [check_volume(given, model) for given in (volume, twin)]
    for name, scan in zip(("volume", "twin"), scans, strict=True):
        if scan.shape[0] != 1:
            raise ValueError(f"{name} must be one scan [C,D,H,W], got {tuple(scan.shape)}")
    scan, healthy = scans[0][0], scans[1][0]
    if scan.shape != healthy.shape:
        raise ValueError(
            f"the scan has shape {tuple(scan.shape)}, but its twin has shape {tuple(healthy.shape)}"
        )
    if torch.equal(scan, healthy):
        raise ValueError("scan and twin are the same everywhere: there is no disease to find")
    return scan, healthy


@dataclass(frozen=True)
class Agreement:
    """Agreement of a heatmap with the truth.

    Attributes
    ----------
    rank : float
        Spearman's correlation of the absolute values; 0 if the map is constant.
    rank_signed : float
        Spearman's correlation of the signed values; 0 if the map is constant.
    average_precision : float
        Average precision of finding the truth's strongest voxels by the map's absolute value.
    prevalence : float
        Share of these voxels: the expected average precision of a random map.
    """

    rank: float
    rank_signed: float
    average_precision: float
    prevalence: float


def truth_agreement(
    heatmap: Tensor | np.ndarray,
    truth: Tensor | np.ndarray,
    inside: np.ndarray | None = None,
    *,
    strongest: float = STRONGEST,
) -> Agreement:
    """Compare a heatmap with the causal truth.

    Equal values share a rank, in the map and in the truth, so the results do not depend on the order of
    voxels. The truth's strongest part includes all voxels tied with its weakest one, and never voxels where
    the truth is zero.

    Parameters
    ----------
    heatmap, truth : Tensor or numpy.ndarray
        Finite, of the same shape.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.
    strongest : float
        Share of the voxels that form the truth's strongest part, by absolute value; between 0 and 1.

    Returns
    -------
    Agreement
        Rank correlations and average precision.

    Raises
    ------
    ValueError, TypeError
        If shapes differ, values are not finite, ``strongest`` is out of range, or the truth is zero on all
        voxels that count.
    """
    if not 0 < strongest < 1:
        raise ValueError(f"strongest must be a share between 0 and 1, got {strongest!r}")
    heat, true = plain_array("heatmap", heatmap), plain_array("truth", truth)
    if heat.shape != true.shape:
        raise ValueError(f"the heatmap has shape {heat.shape}, but the truth has shape {true.shape}")
    if inside is not None:
        inside = bool_mask("inside", inside, heat.shape)
        heat, true = heat[inside], true[inside]
    heat, true = heat.ravel(), true.ravel()
    part = strongest_part(true, strongest)
    curve = precision_recall(np.abs(heat), {"the truth's strongest part": part})[
        "the truth's strongest part"
    ]
    return Agreement(
        rank=_or_zero(rank_correlation(heat, true)),
        rank_signed=_or_zero(rank_correlation(heat, true, signed=True)),
        average_precision=curve.average_precision,
        prevalence=curve.prevalence,
    )


def strongest_part(truth: np.ndarray, share: float = STRONGEST) -> np.ndarray:
    """Return a mask of the strongest voxels, ties with the weakest of them included.

    Parameters
    ----------
    truth : numpy.ndarray
        Finite values of any shape. Strength is the absolute value.
    share : float
        Share of the voxels to return, between 0 and 1; always at least one voxel.

    Returns
    -------
    numpy.ndarray
        bool, of the shape of ``truth``. Voxels that are zero are never included.

    Raises
    ------
    ValueError
        If the truth is not finite, or is zero everywhere.
    """
    strength = np.abs(truth)
    if not np.isfinite(strength).all():
        raise ValueError("the truth holds NaN or infinity")
    if not strength.any():
        raise ValueError("the truth is zero on all of the voxels that count: there is nothing to find")
    count = max(1, int(np.ceil(share * strength.size)))
    weakest = np.partition(strength.ravel(), -count)[-count]
    found: np.ndarray = (strength >= weakest) & (strength > 0)
    return found


def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else value
