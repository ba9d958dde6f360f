"""How well heatmaps find anatomical regions (paper section 4.3: precision and recall)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pyadx.evaluation.curves import PrecisionRecall, precision_recall
from pyadx.evaluation.masks import bool_mask


@dataclass(frozen=True)
class RegionScore:
    """How well one heatmap finds one region.

    Attributes
    ----------
    average_precision : float
        Average precision of the exact precision-recall curve, 0 to 1.
    prevalence : float
        Share of the evaluated voxels in the region: the expected average precision of a random map.
    pointing : float
        Pointing game (Zhang et al., IJCV 2018): 1 if the strongest voxel is in the region, else 0. If
        several voxels are equally strong, the share of them in the region.
    relevance_mass : float
        Share of the sum of absolute values inside the region (Arras et al., Information Fusion 2022). NaN
        if the heatmap is zero everywhere.
    relevance_rank : float
        Share of the ``K`` strongest voxels that are in the region, where ``K`` is the region's number of
        voxels (Arras et al., 2022). Ties count by their expected value.
    """

    average_precision: float
    prevalence: float
    pointing: float
    relevance_mass: float
    relevance_rank: float


def localization(
    heatmap: np.ndarray, regions: Mapping[str, np.ndarray], inside: np.ndarray | None = None
) -> dict[str, RegionScore]:
    """Score one heatmap against regions.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``[D, H, W]``. Its absolute value is scored.
    regions : mapping
        Region name to bool mask ``[D, H, W]`` on the heatmap's grid.
    inside : numpy.ndarray, optional
        bool ``[D, H, W]``, such as the brain: only these voxels count. Without it the whole volume counts.
        Every score then looks better, because maps are easily dark in the empty background.

    Returns
    -------
    dict
        Region name to `RegionScore`.

    Raises
    ------
    ValueError, TypeError
        If shapes differ, the heatmap is not finite, a mask is not bool, or a region holds none or all of
        the voxels that count.
    """
    strength, masks = evaluated_voxels(heatmap, regions, inside)
    curves = precision_recall(strength, masks)
    return {name: region_score(curve, strength, masks[name]) for name, curve in curves.items()}


def pooled_curves(
    heatmaps: Sequence[np.ndarray],
    regions: Sequence[Mapping[str, np.ndarray]],
    inside: Sequence[np.ndarray | None] | None = None,
) -> dict[str, PrecisionRecall]:
    """Return precision-recall curves over the pooled voxels of several scans, as in the paper.

    Parameters
    ----------
    heatmaps : sequence of numpy.ndarray
        One per scan, as for `localization`.
    regions : sequence of mapping
        Regions of each scan. All scans need the same names.
    inside : sequence of numpy.ndarray, optional
        bool mask of the voxels that count, one per scan.

    Returns
    -------
    dict
        Region name to `PrecisionRecall`.

    Raises
    ------
    ValueError, TypeError
        As `localization`, or if the numbers of heatmaps, regions and masks differ, or the scans do not have
        the same regions.
    """
    if not heatmaps or len(regions) != len(heatmaps):
        raise ValueError(
            f"got {len(heatmaps)} heatmaps and the regions of {len(regions)} scans; give both for each scan"
        )
    names = list(regions[0])
    if any(sorted(one) != sorted(names) for one in regions):
        raise ValueError(f"every scan needs the regions {', '.join(names)}")
    within = inside if inside is not None else [None] * len(heatmaps)
    parts = [evaluated_voxels(*one) for one in zip(heatmaps, regions, within, strict=True)]
    strength = np.concatenate([part[0] for part in parts])
    masks = {name: np.concatenate([part[1][name] for part in parts]) for name in names}
    return precision_recall(strength, masks)


def region_score(curve: PrecisionRecall, strength: np.ndarray, mask: np.ndarray) -> RegionScore:
    """Score one region from its curve, the absolute values ``[N]`` and the region's mask ``[N]``."""
    total = float(np.sum(strength, dtype=np.float64))
    return RegionScore(
        average_precision=curve.average_precision,
        prevalence=curve.prevalence,
        pointing=float(curve.precision[0]),
        relevance_mass=float(np.sum(strength[mask], dtype=np.float64) / total)
        if total > 0
        else float("nan"),
        relevance_rank=_rank_accuracy(curve),
    )


def evaluated_voxels(
    heatmap: np.ndarray, regions: Mapping[str, np.ndarray], inside: np.ndarray | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the absolute values ``[N]`` and region masks ``[N]`` of the voxels that count."""
    heatmap = np.asarray(heatmap)
    inside = None if inside is None else bool_mask("inside", inside, heatmap.shape)
    for name, mask in regions.items():
        if np.shape(mask) != heatmap.shape:
            raise ValueError(
                f"region {name!r} has shape {np.shape(mask)}, but the heatmap has shape {heatmap.shape}"
            )
    if inside is None:
        return np.abs(heatmap).ravel(), {name: np.ravel(mask) for name, mask in regions.items()}
    return np.abs(heatmap[inside]), {name: np.asarray(mask)[inside] for name, mask in regions.items()}


def bootstrap_mean(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return a confidence interval of the mean over scans (percentile bootstrap, 10,000 draws).

    Parameters
    ----------
    values : sequence of float
        One per scan.
    level : float
        Confidence level.
    seed : int
        Seed of the draws.

    Returns
    -------
    tuple of float
        Lower and upper limit. Both are NaN for fewer than two scans.
    """
    known = np.asarray(values, np.float64)
    if len(known) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(0, len(known), (10_000, len(known)))
    means = known[draws].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_with_interval(values: Sequence[float]) -> str:
    """Format a mean and its 95% bootstrap interval (`bootstrap_mean`) for a table."""
    low, high = bootstrap_mean(values)
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"


def bootstrap_difference(
    one: Sequence[float], other: Sequence[float], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Return the difference of two methods' means on the same scans, with its bootstrap interval.

    The bootstrap draws scans, not single values. A scan that is hard for both methods therefore does not
    widen the interval.

    Parameters
    ----------
    one, other : sequence of float
        One per scan, in the same order.
    level, seed
        As for `bootstrap_mean`.

    Returns
    -------
    tuple of float
        Mean of ``one`` minus mean of ``other``, and the lower and upper limit of the interval.

    Raises
    ------
    ValueError
        If the two differ in length, or are empty.
    """
    first, second = (np.asarray(values, np.float64) for values in (one, other))
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(
            f"both methods need one value per scan, got arrays of shape {first.shape} and {second.shape}"
        )
    pairs = first - second
    return float(pairs.mean()), *bootstrap_mean(pairs.tolist(), level=level, seed=seed)


def _rank_accuracy(curve: PrecisionRecall) -> float:
    size = int(curve.hits[-1])
    at = int(np.searchsorted(curve.found, size))
    before_found, before_hits = (0, 0) if at == 0 else (int(curve.found[at - 1]), int(curve.hits[at - 1]))
    tied, tied_hits = int(curve.found[at]) - before_found, int(curve.hits[at]) - before_hits
    return (before_hits + tied_hits * (size - before_found) / tied) / size
