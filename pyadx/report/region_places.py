"""Where the regions of a report lie on the scan, read from the heatmap that they were painted into.

A sidecar names regions, and not their voxels. The heatmap holds them: every region has a value of its own.
Where an atlas is given that the map fits, that says it also for regions of equal values.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pyadx.report.region_reports import RegionReport

_CLOSE = 1e-5  # of the largest value: float32, and what interpolation makes of equal values
_FITTING = 0.5  # share of the regions of an atlas whose median is their value


@dataclass(frozen=True, eq=False)
class RegionPlaces:
    """Regions that buttons of the page lead to.

    Attributes
    ----------
    names : tuple of str
        ``[R]``.
    numbers : numpy.ndarray
        Every voxel's region, from 1 in the order of the names; 0 is none.
    table : str
        The regions as text of a TSV file.
    """

    names: tuple[str, ...]
    numbers: np.ndarray
    table: str


def region_numbers(heat: np.ndarray, report: RegionReport, labels: np.ndarray | None = None) -> np.ndarray:
    """Return the number of every voxel's region, from 1 in the order of the report; 0 is none.

    Parameters
    ----------
    heat : numpy.ndarray
        ``[I, J, K]``.
    report : RegionReport
        Of this heatmap.
    labels : numpy.ndarray, optional
        A label volume on the same voxels. It is taken if the heatmap fits it, and else left alone.

    Returns
    -------
    numpy.ndarray
        uint16 ``[I, J, K]``. Regions that cannot be told from another one, or from the background, have no
        voxel.
    """
    painted = _painted(report)
    if labels is not None:
        numbers = _numbers_of_labels(labels, report)
        if any(_fits(heat, numbers, values) for values in painted):
            return numbers
    found = [_by_value(heat, values) for values in painted]
    return max(found, key=lambda numbers: len(np.unique(numbers)))


def region_centres(numbers: np.ndarray, count: int) -> list[list[int] | None]:
    """Return the voxel of every region that is closest to the region's middle; None of one without voxels.

    Parameters
    ----------
    numbers : numpy.ndarray
        ``[I, J, K]``: 0 is none.
    count : int
        Regions are numbered from 1 to it.
    """
    flat = numbers.ravel()
    inside = np.flatnonzero(flat)
    inside = inside[np.argsort(flat[inside], kind="stable")]
    ends = np.searchsorted(flat[inside], np.arange(1, count + 2))
    centres: list[list[int] | None] = []
    for low, high in pairwise(ends):
        if low == high:
            centres.append(None)
            continue
        voxels = np.stack(np.unravel_index(inside[low:high], numbers.shape), 1)
        away = ((voxels - voxels.mean(0)) ** 2).sum(1)
        centres.append(voxels[away.argmin()].tolist())
    return centres


def _painted(report: RegionReport) -> list[np.ndarray]:
    """Return the values that a map may show in the regions, of every way to paint it."""
    values = np.array([region.value for region in report.regions])
    sizes = np.array([region.voxels or 0 for region in report.regions])
    painted = [values]
    if (sizes > 0).all():
        painted.append(values / sizes)
    if not report.shared:  # `pyadx flip` writes places in the list
        painted.append(np.arange(1.0, len(values) + 1))
    return painted


def _numbers_of_labels(labels: np.ndarray, report: RegionReport) -> np.ndarray:
    own = np.array([region.label for region in report.regions])
    order = np.argsort(own)
    place = np.searchsorted(own[order], labels).clip(max=len(own) - 1)
    known = (own[order][place] == labels) & (labels > 0)
    return np.where(known, order[place] + 1, 0).astype(np.uint16)


def _fits(heat: np.ndarray, numbers: np.ndarray, painted: np.ndarray) -> bool:
    from scipy import ndimage

    there = np.unique(numbers[numbers > 0])
    if not len(there):
        return False
    medians = np.asarray(ndimage.median(heat, numbers, there))
    return bool((np.abs(medians - painted[there - 1]) <= _tolerance(painted)).mean() >= _FITTING)


def _by_value(heat: np.ndarray, painted: np.ndarray) -> np.ndarray:
    close = _tolerance(painted)
    order = np.argsort(painted)
    rising = painted[order]
    apart = np.diff(rising, prepend=-np.inf, append=np.inf) > 2 * close
    alone = apart[:-1] & apart[1:] & (np.abs(rising) > close)
    middles = (rising[:-1] + rising[1:]) / 2
    place = np.searchsorted(middles, heat)
    known = (np.abs(heat - rising[place]) <= close) & alone[place]
    return np.where(known, order[place] + 1, 0).astype(np.uint16)


def _tolerance(painted: np.ndarray) -> float:
    return _CLOSE * float(np.abs(painted).max())
