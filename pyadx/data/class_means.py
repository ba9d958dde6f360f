"""The mean image of each class in a training set, made so that it reveals no single scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.models.card import ModelCard
from pyadx.short_reprs import short_repr

LEAST_SCANS = 8  # per class and per voxel: a mean of fewer could reveal single scans
_MOST_OF_ONE = 0.5  # largest share of one scan in a mean; more could reveal the scan
_AROUND_ZERO = 0.5  # mean over mean absolute value; below it a factor cannot match intensities
_MOST_ROUNDING = 1e-3  # relative, root mean square; exceeded only beyond the range of half precision

_MATCHED = "each scan times one factor, so that the mean of its voxels that are not 0 is the average scan's"
_AS_THEY_ARE = "none: scans as they are prepared"
_VOXELS = f"0 where fewer than {LEAST_SCANS} scans are not 0"


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """Mean images of classes.

    Attributes
    ----------
    images : dict
        float16 ``[D, H, W]`` by class name; refused classes have no image.
    facts : dict
        Plain data for `pyadx.models.ModelCard.references`, by class name: the number of ``scans``; their
        intensity ``matching`` and the rule for ``voxels`` that are 0, or the reason if ``refused``.
    """

    images: dict[str, np.ndarray]
    facts: dict[str, dict[str, Any]]

    __repr__ = short_repr


@dataclass(frozen=True)
class _Brain:
    """Mean of a scan's voxels that are not 0, and the sum of absolute values of all voxels."""

    mean: float
    total: float
    around_zero: bool


def class_means(
    volumes: Sequence[np.ndarray] | np.ndarray, labels: np.ndarray, which: np.ndarray, card: ModelCard
) -> ClassMeans:
    """Return the mean image of each class, after matching the scans' intensities.

    Scans that are divided by their maximum, or not scaled, differ in brightness. Each one is multiplied by
    a factor, so that its mean over its own brain (voxels that are not 0) equals the average of these means
    over all scans of all classes. Z-scored scans are not matched. Scans z-scored before the network's own
    preprocessing are recognised by a mean below half of the mean absolute value.

    A mean must not reveal a scan. A class is refused if it has fewer than `LEAST_SCANS` scans, or if one
    scan makes more than half of the mean. A voxel where fewer than `LEAST_SCANS` scans are not 0 is set to
    0, for example in the face of the only scan that was not defaced.

    Parameters
    ----------
    volumes : numpy.ndarray or sequence of numpy.ndarray
        ``[N, D, H, W]``, prepared according to the card. They may be memory-mapped: each scan is read
        twice, one at a time. Sums are in float64.
    labels : numpy.ndarray
        Class of every scan, int ``[N]``.
    which : numpy.ndarray
        Indices of the scans to use, without repetition.
    card : ModelCard
        Classes and preprocessing.

    Raises
    ------
    ValueError
        If an index is repeated, or a used scan holds NaN, infinity or only zeros.
    """
    if len(np.unique(which)) != len(which):
        raise ValueError("a scan is listed twice: the mean image could reveal it")
    brains = {int(i): _measured(volumes[i], int(i)) for i in which}
    factors, matching = _matched(brains, card)
    images: dict[str, np.ndarray] = {}
    facts: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(card.class_names):
        members = [i for i in brains if labels[i] == number]
        facts[name] = {"scans": len(members)}
        refused = _too_few(len(members)) or _too_alike([factors[i] * brains[i].total for i in members])
        if refused is None:
            mean = _mean(volumes, {i: factors[i] for i in members})
            half, refused = _halved(mean)
        if refused is None:
            images[name] = half
            facts[name] |= {"matching": matching, "voxels": _VOXELS}
        else:
            facts[name] |= {"refused": refused}
    return ClassMeans(images, facts)


def _measured(volume: np.ndarray, index: int) -> _Brain:
    values = np.asarray(volume, np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"scan {index} holds NaN or infinity: there is no mean image")
    values = values[values != 0]
    if values.size == 0:
        raise ValueError(f"every voxel of scan {index} is 0: there is no mean image")
    mean, absolute = float(values.mean()), float(np.abs(values).mean())
    return _Brain(mean, absolute * values.size, mean < _AROUND_ZERO * absolute)


def _matched(brains: dict[int, _Brain], card: ModelCard) -> tuple[dict[int, float], str]:
    """Return the factor of every scan, and the name of the rule."""
    if card.preprocessing.intensity == "zscore" or any(brain.around_zero for brain in brains.values()):
        return dict.fromkeys(brains, 1.0), _AS_THEY_ARE
    average = float(np.mean([brain.mean for brain in brains.values()]))
    return {i: average / brain.mean for i, brain in brains.items()}, _MATCHED


def _too_few(count: int) -> str | None:
    if count >= LEAST_SCANS:
        return None
    return f"{count} scan{'s' if count != 1 else ''}, at least {LEAST_SCANS} are needed"


def _too_alike(totals: list[float]) -> str | None:
    """Refuse a mean that consists mostly of one scan."""
    share = max(totals) / sum(totals)
    return f"one scan makes {share:.0%} of the mean" if share > _MOST_OF_ONE else None


def _mean(volumes: Sequence[np.ndarray] | np.ndarray, factors: dict[int, float]) -> np.ndarray:
    total = np.zeros(np.shape(volumes[next(iter(factors))]), np.float64)
    count = np.zeros(total.shape, np.int32)
    for i, factor in factors.items():
        values = np.asarray(volumes[i], np.float64)
        total += factor * values
        count += values != 0
    total /= len(factors)
    total[count < LEAST_SCANS] = 0
    return total


def _halved(mean: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Return an image in half precision, and the reason if it does not fit."""
    with np.errstate(over="ignore"):
        half = mean.astype(np.float16)
    size = float(np.linalg.norm(mean))
    if size == 0:
        return half, f"no voxel is non-zero in {LEAST_SCANS} scans"
    if not float(np.linalg.norm(half.astype(np.float64) - mean)) <= _MOST_ROUNDING * size:
        return half, f"values up to {float(np.abs(mean).max()):.3g} do not fit into half precision"
    return half, None
