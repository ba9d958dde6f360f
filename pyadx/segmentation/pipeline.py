"""The 3D ultrametric contour map: boundary cue, watershed, region graph, merge tree."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyadx import _ucm
from pyadx.segmentation.checks import as_mask, as_spacing, as_volume, check_device
from pyadx.segmentation.cues import Cue, chi_square_cue, directions, given_cue, gradient_cue
from pyadx.segmentation.hierarchy import Hierarchy
from pyadx.segmentation.options import CueKind, Linkage, check_options
from pyadx.segmentation.smoothing import QUANTA, Prepared, prepare, quantise
from pyadx.segmentation.spectral import gpb_cue
from pyadx.segmentation.threads import thread_count
from pyadx.segmentation.tree import altitude_levels, geometric_levels, make_hierarchy

Listener = Callable[[str, float], None]

_GBH_BINS = 20
_GBH_CONSTANT = 1.0
_FACE_UNITS = 1024  # face areas and cosines in whole numbers


def ucm(
    volume: Any,
    mask: Any = None,
    spacing: float | Sequence[float] | None = None,
    cue: CueKind | np.ndarray | None = None,
    linkage: Linkage | None = None,
    *,
    preset: str = "default",
    min_size: int | None = None,
    smoothing: float | None = None,
    max_levels: int = 20,
    max_regions: int = 500,
    threads: int | None = None,
    device: str = "cpu",
    progress: Listener | None = None,
) -> Hierarchy:
    """Segment a volume hierarchically.

    The intensity is scaled and smoothed, a boundary cue is computed, its watershed basins become the
    leaves, and neighbouring regions are merged one by one. The result does not depend on the number of
    threads. Ctrl-C stops it within a tenth of a second.

    Parameters
    ----------
    volume : array or Tensor
        ``[D, H, W]``, finite; leading axes of length one are dropped.
    mask : array, optional
        Non-zero inside; regions never leave it, and it may have several components. Without it the voxels
        that are not zero, the background of a skull-stripped scan.
    spacing : float or sequence of float, optional
        Voxel size in mm, one or three numbers; cubic without it.
    cue : {"gradient", "chi2", "gpb"} or array, optional
        Boundary strength: gradient magnitude; chi-square distance between half balls (the paper's mPb);
        that and its globalisation by normalised cuts (the paper's full pipeline); or a map ``[D, H, W]``
        of numbers from 0.
    linkage : {"ward", "hybrid", "boundary", "gbh"}, optional
        What decides which regions merge next: increase of the variance (Ward 1963); that plus squared
        boundary strength, times size; mean strength of the common boundary, oriented if the cue is
        (Arbelaez et al., PAMI 2011, and the paper's text); or the graph-based criterion on histograms
        (Felzenszwalb and Huttenlocher, IJCV 2004; the authors' release).
    preset : {"default", "paper", "release"}
        What options not given are taken from; see `PRESETS`.
    min_size : int, optional
        Voxels; smaller regions are merged first, into their nearest neighbour.
    smoothing : float, optional
        Standard deviation of the Gaussian before all else, in units of the smallest voxel size.
    max_levels : int
        Levels of the hierarchy, at most.
    max_regions : int
        Regions of the finest level, at most. Levels are spaced geometrically down to two regions;
        ``linkage="gbh"`` has levels of its own.
    threads : int, optional
        Without it all that the process may use.
    device : str
        Where the chi-square cue is computed: ``cpu``, ``cuda`` or ``cuda:N``; the same bits everywhere.
    progress : callable, optional
        Called with the name of the step and the share of it that is done.

    Returns
    -------
    Hierarchy
        Its leaves are the watershed basins.

    Raises
    ------
    TypeError, ValueError
        If the volume is not finite, constant, too thin or too large, the mask is empty, or an option is out
        of range.
    """
    options = check_options(
        cue=cue,
        linkage=linkage,
        preset=preset,
        min_size=min_size,
        smoothing=smoothing,
        max_levels=max_levels,
        max_regions=max_regions,
        spacing=spacing,
    )
    max_levels, max_regions = int(max_levels), int(max_regions)
    threads = thread_count(threads)
    check_device(device)
    array = as_volume(volume)
    inside = as_mask(mask, array)
    prepared = prepare(array, inside, as_spacing(spacing), options.smoothing)
    found = _cue(options.cue, prepared, array.shape, threads, device, progress)
    regions, merges, altitudes, sizes = _merged(
        prepared, found, options.linkage, options.min_size, threads, progress
    )
    if options.linkage == "gbh":
        levels = altitude_levels(altitudes, max_regions, max_levels)
    else:
        levels = geometric_levels(len(sizes), max_regions, max_levels)
    whole = np.full(array.shape, -1, np.int32)
    whole[prepared.box] = regions
    return make_hierarchy(whole, merges, altitudes, sizes, levels)


def _listener(progress: Listener | None, step: str) -> Callable[[float], None] | None:
    return None if progress is None else lambda done: progress(step, done)


def _cue(
    cue: CueKind | np.ndarray,
    prepared: Prepared,
    shape: tuple[int, ...],
    threads: int,
    device: str,
    progress: Listener | None,
) -> Cue:
    if not isinstance(cue, str):
        return given_cue(cue, prepared, shape)
    listener = _listener(progress, f"{cue} cue")
    if cue == "gradient":
        return gradient_cue(prepared, threads, listener)
    if cue == "chi2":
        return chi_square_cue(prepared, threads, listener, device)
    return gpb_cue(prepared, threads, listener, device)


def _merged(
    prepared: Prepared,
    cue: Cue,
    linkage: Linkage,
    min_size: int,
    threads: int,
    progress: Listener | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return regions of the cut volume, merges, altitudes and sizes."""
    relief = quantise(cue.strength)
    regions, count = _ucm.watershed(relief, prepared.mask, threads, _listener(progress, "watershed"))
    areas, cosines = _faces(prepared.spacing, cue if linkage == "boundary" else None)
    direction = cue.direction if cosines else None
    pairs, sums, weights = _ucm.region_graph(
        relief,
        regions,
        areas,
        direction,
        cosines,
        threads,
        _listener(progress, "region graph"),
        unit=_FACE_UNITS,
    )
    inside = regions >= 0
    labels = regions[inside]
    sizes = np.bincount(labels, minlength=count).astype(np.int64)
    listener = _listener(progress, "merging")
    if linkage == "gbh":
        bins = np.minimum(prepared.intensity[inside] * _GBH_BINS, _GBH_BINS - 1).astype(np.int64)
        histograms = np.bincount(labels * np.int64(_GBH_BINS) + bins, minlength=count * _GBH_BINS)
        merges, altitudes = _ucm.merge_graph_based(
            pairs, sizes, histograms.reshape(count, _GBH_BINS), _GBH_CONSTANT, float(min_size), listener
        )
    else:
        # float64 sums of whole numbers below 2^53 are exact.
        intensity = np.bincount(labels, quantise(prepared.intensity)[inside], minlength=count)
        merges, altitudes = _ucm.merge_regions(
            pairs,
            sums,
            weights,
            sizes,
            intensity.astype(np.int64),
            linkage,
            min_size,
            1 / QUANTA,
            1 / QUANTA,
            listener,
        )
    return regions, merges, altitudes, sizes


def _faces(spacing: tuple[float, float, float], cue: Cue | None) -> tuple[list[int], list[list[int]]]:
    """Return the weight of faces across each axis, and how directions cross them."""
    z, y, x = spacing
    largest = max(y * x, z * x, z * y)
    areas = [max(1, round(_FACE_UNITS * area / largest)) for area in (y * x, z * x, z * y)]
    if cue is None or cue.direction is None:
        return areas, []
    cosines = np.zeros((3, 256), np.int64)
    cosines[:, : len(directions())] = np.round(np.abs(directions().T) * _FACE_UNITS)
    return areas, cosines.tolist()
