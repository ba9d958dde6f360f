"""Voxels of a report's regions, recovered from the heatmap.

A sidecar lists the regions but not their voxels. The voxels of a region share a value in the heatmap, so
they can be recovered from it if no other region has this value. If a label volume matches the heatmap, it
also tells regions of equal value apart.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pyadx.report.region_reports import RegionReport

_CLOSE = (
    1e-5  # tolerance relative to the largest value: float32 rounding, and interpolation of equal values
)
_FITTING = 0.5  # least share of regions whose median in the heatmap is their value, for an atlas to match


@dataclass(frozen=True, eq=False)
class RegionPlaces:
    """Regions that the page can show in the viewer, and their table.

    Attributes
    ----------
    names : tuple of str
        Names of the regions, ``[R]``.
    numbers : numpy.ndarray
        Integers ``[I, J, K]``: region of every voxel, from 1 in the order of the names; 0 for no region.
    table : str
        The regions as the text of a TSV file.
    """

    names: tuple[str, ...]
    numbers: np.ndarray
    table: str


def region_numbers(heat: np.ndarray, report: RegionReport, labels: np.ndarray | None = None) -> np.ndarray:
    """Return the region of every voxel, numbered from 1 in the order of the report; 0 for no region.

    Parameters
    ----------
    heat : numpy.ndarray
        Heatmap, ``[I, J, K]``.
    report : RegionReport
        Regions of this heatmap.
    labels : numpy.ndarray, optional
        Label volume on the same voxels. It is ignored if it does not match the heatmap.

    Returns
    -------
    numpy.ndarray
        uint16 ``[I, J, K]``. Without a matching label volume, regions with the value of another region, or
        with a value near 0, have no voxels.
    """
    painted = _painted(report)
    if labels is not None:
        numbers = _numbers_of_labels(labels, report)
        if any(_fits(heat, numbers, values) for values in painted):
            return numbers
    found = [_by_value(heat, values) for values in painted]
    return max(found, key=lambda numbers: len(np.unique(numbers)))


def region_centres(numbers: np.ndarray, count: int) -> list[list[int] | None]:
    """Return for every region its voxel nearest to its centroid, or None if it has no voxels.

    Parameters
    ----------
    numbers : numpy.ndarray
        Region of every voxel, ``[I, J, K]``; 0 for no region.
    count : int
        Number of regions, which are numbered 1 to ``count``.

    Returns
    -------
    list
        Voxel indices or None, ``[count]``.
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
    """Return the regions' values in the heatmap, for every way in which a heatmap may be painted."""
    values = np.array([region.value for region in report.regions])
    sizes = np.array([region.voxels or 0 for region in report.regions])
    painted = [values]
    if (sizes > 0).all():
        painted.append(values / sizes)
    if not report.shared:  # `pyadx flip` paints ranks, from 1
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
