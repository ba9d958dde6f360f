"""What a map should show, where it is known: scans of patients whose healthy twin is at hand.

The twin is the same person's scan without the disease, to the noise; a synthetic cohort has it. How far the
class score moves when a window comes from the twin is then no estimate but the effect of the disease
there on this very network. Maps are measured against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.evaluation.curves import precision_recall
from pyadx.evaluation.sanity import rank_correlation
from pyadx.explainers import Occlusion
from pyadx.explainers.perturbation import masks_per_scan
from pyadx.explainers.volumes import check_volume
from pyadx.inference.engines import Engine, RegionScorer
from pyadx.inference.outputs import Output
from pyadx.inference.score import Outputs, Score, Target
from pyadx.inference.segments import distinct_segments
from pyadx.ops.arrays import plain_array

STRONGEST = 0.05  # of the voxels: the part of the truth that a map should find


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
    """Return how far the class score falls when a window around each voxel comes from the healthy twin.

    ``T(v) = s(V) - s(V with the window at v taken from the twin)``: positive where the disease speaks for
    the class. Windows in which the two do not differ are exactly zero and cost nothing.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores; left as it was found.
    volume, twin : Tensor or numpy.ndarray
        ``[C, D, H, W]`` or ``[1, C, D, H, W]``, prepared with the same numbers: the twin is scaled as the
        scan is (`pyadx.data.inputs.prepared_volume` with ``like``), not by its own brightest voxel.
    target : int, str or None
        Class whose score is followed; ``None`` takes the class predicted for the scan.
    window, stride : int
        Size of the window and distance between windows, in voxels, as for `pyadx.Occlusion`.
    score, outputs, output, forward_args, engine, progress
        As for `pyadx.Occlusion`; ``log_odds`` does not flatten where the network is sure.

    Returns
    -------
    Tensor
        float32 ``[D, H, W]``; exact at the centres of the windows, linear between them.

    Raises
    ------
    TypeError, ValueError
        If the two do not fit each other or the model, or are the same everywhere.
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
        Name to bool mask ``[D, H, W]``.

    Returns
    -------
    dict
        Name to ``s(V) - s(V with the region taken from the twin)``; 0 where nothing differs there.

    Raises
    ------
    TypeError, ValueError
        As `causal_truth`, or if a mask does not fit.
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
    """Return scan and twin ``[C, D, H, W]``."""
    scans = [check_volume(given, model) for given in (volume, twin)]
    for name, scan in zip(("volume", "twin"), scans, strict=True):
        if scan.shape[0] != 1:
            raise ValueError(f"{name} must be one scan [C,D,H,W], got {tuple(scan.shape)}")
    scan, healthy = scans[0][0], scans[1][0]
    if scan.shape != healthy.shape:
        raise ValueError(f"the scan has shape {tuple(scan.shape)}, its twin {tuple(healthy.shape)}")
    if torch.equal(scan, healthy):
        raise ValueError("scan and twin are the same everywhere: there is no disease to find")
    return scan, healthy


@dataclass(frozen=True)
class Agreement:
    """How a map agrees with the truth.

    Attributes
    ----------
    rank : float
        Spearman's correlation of the absolute values; 0 for a map without contrast.
    rank_signed : float
        Spearman's correlation of the values with their signs.
    average_precision : float
        Of the truth's strongest voxels, ranked by the map's absolute value.
    prevalence : float
        Their share: the average precision of a random map.
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
    """Measure a map against the causal truth.

    Voxels that are equally strong share a rank, in the map and in the truth, so that no figure depends on
    the order of voxels. Those tied with the weakest of the truth's strongest count among them; voxels where
    the truth is zero never do.

    Parameters
    ----------
    heatmap, truth : Tensor or numpy.ndarray
        Of one shape, finite.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.
    strongest : float
        Share of the voxels, by absolute value, that make the truth's strongest part.

    Returns
    -------
    Agreement
        All figures.

    Raises
    ------
    ValueError, TypeError
        If shapes differ, values are not finite, or the truth is zero wherever it counts.
    """
    if not 0 < strongest < 1:
        raise ValueError(f"strongest must be a share between 0 and 1, got {strongest!r}")
    heat, true = (plain_array("heatmap", x) for x in (heatmap, truth))
    if heat.shape != true.shape:
        raise ValueError(f"the heatmap has shape {heat.shape}, the truth {true.shape}")
    if inside is not None:
        if inside.dtype != bool or inside.shape != heat.shape:
            raise ValueError(f"inside must be a bool mask of shape {heat.shape}, got {inside.dtype}")
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
    """Return where the truth is strongest, bool of its shape.

    Raises
    ------
    ValueError
        If it is not finite or zero everywhere.
    """
    strength = np.abs(truth)
    if not np.isfinite(strength).all():
        raise ValueError("the truth holds NaN or infinity")
    if not strength.any():
        raise ValueError("the truth is zero on all of the voxels that count: nothing can be found")
    count = max(1, int(np.ceil(share * strength.size)))
    weakest = np.partition(strength.ravel(), -count)[-count]
    found: np.ndarray = (strength >= weakest) & (strength > 0)
    return found


def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else value
