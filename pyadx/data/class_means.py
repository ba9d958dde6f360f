"""The mean image of every class that a network was trained on, in which no single scan can be seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.models.card import ModelCard
from pyadx.short_reprs import short_repr

LEAST_SCANS = 8  # of a class, and in every voxel: a mean of fewer would show single scans
_MOST_OF_ONE = 0.5  # of a mean; a scan that makes more of it could be seen
_AROUND_ZERO = 0.5  # mean over mean absolute value; below it no factor matches intensities
_MOST_ROUNDING = 1e-3  # relative, root mean square; only beyond the range of half precision is it more

_MATCHED = "each scan times one factor, so that the mean of its voxels that are not 0 is the average scan's"
_AS_THEY_ARE = "none: scans as they are prepared"
_VOXELS = f"0 where fewer than {LEAST_SCANS} scans are not 0"


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """Mean images of classes.

    Attributes
    ----------
    images : dict
        From the name of a class to float16 ``[D, H, W]``; classes that are refused have none.
    facts : dict
        From the name of every class to plain data for `pyadx.models.ModelCard.references`: the number of
        ``scans``; their ``matching`` in intensity and which ``voxels`` are 0, or why it is ``refused``.
    """

    images: dict[str, np.ndarray]
    facts: dict[str, dict[str, Any]]

    __repr__ = short_repr


@dataclass(frozen=True)
class _Brain:
    """Mean of a scan's voxels that are not 0, and the sum of all absolute values."""

    mean: float
    total: float
    around_zero: bool


def class_means(
    volumes: Sequence[np.ndarray] | np.ndarray, labels: np.ndarray, which: np.ndarray, card: ModelCard
) -> ClassMeans:
    """Return the mean image of every class, of scans that were matched in intensity.

    Scans that are divided by their maximum, or left as they are, differ in brightness: each is first
    multiplied so that its mean over its own brain (voxels that are not 0) is the mean of these means over
    all scans, of whatever class. Scans that were z-scored are taken as they are; where that was done before
    the network's own preprocessing it shows in a mean of less than half the mean absolute value.

    No scan can be read back out of a mean: a class with fewer than `LEAST_SCANS` scans is refused, and one
    of whose mean a single scan makes more than half; and a voxel where fewer than `LEAST_SCANS` scans are
    not 0 is 0, such as those of the one face that was not removed.

    Parameters
    ----------
    volumes : numpy.ndarray or sequence of numpy.ndarray
        ``[N, D, H, W]``, prepared as the card says. They may lie on disk: each scan is read twice, one at a
        time. Sums are in float64.
    labels : numpy.ndarray
        Class of every scan, int ``[N]``.
    which : numpy.ndarray
        Indices of the scans that count, each once.
    card : ModelCard
        Classes and preprocessing.

    Raises
    ------
    ValueError
        If an index comes twice, or a scan that counts holds NaN or infinity, or only zeros.
    """
    if len(np.unique(which)) != len(which):
        raise ValueError("a scan counts twice: the mean image could show it")
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
    """Return the factor of every scan, and the rule in words."""
    if card.preprocessing.intensity == "zscore" or any(brain.around_zero for brain in brains.values()):
        return dict.fromkeys(brains, 1.0), _AS_THEY_ARE
    average = float(np.mean([brain.mean for brain in brains.values()]))
    return {i: average / brain.mean for i, brain in brains.items()}, _MATCHED


def _too_few(count: int) -> str | None:
    if count >= LEAST_SCANS:
        return None
    return f"{count} scan{'s' if count != 1 else ''}, at least {LEAST_SCANS} are needed"


def _too_alike(totals: list[float]) -> str | None:
    """Refuse a mean that is next to nothing but one scan."""
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
    """Return an image in half precision, and why it does not go into that."""
    with np.errstate(over="ignore"):
        half = mean.astype(np.float16)
    size = float(np.linalg.norm(mean))
    if size == 0:
        return half, f"no voxel is not 0 in {LEAST_SCANS} scans"
    if not float(np.linalg.norm(half.astype(np.float64) - mean)) <= _MOST_ROUNDING * size:
        return half, f"values up to {float(np.abs(mean).max()):.3g} do not fit into half precision"
    return half, None
