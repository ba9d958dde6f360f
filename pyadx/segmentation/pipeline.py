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
_FACE_UNITS = 1024  # the value of 1.0 in face areas and cosines, which are whole numbers


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

    The intensity is scaled and smoothed, a boundary cue is computed, the watershed basins of the cue become
    the leaves, and neighbouring regions are merged one by one. The result does not depend on the number of
    threads, except with ``cue="gpb"``: its eigenvectors may depend on the threads of BLAS. Ctrl-C stops the
    native steps within a tenth of a second.

    Parameters
    ----------
    volume : array or Tensor
        ``[D, H, W]``, finite real numbers; leading axes of length one are dropped.
    mask : array or Tensor, optional
        ``[D, H, W]``, not zero inside; it may have several components. No region extends beyond it.
        By default the non-zero voxels, which are the brain in a skull-stripped scan.
    spacing : float or sequence of float, optional
        Voxel size in mm, one number or three; by default voxels are cubic.
    cue : {"gradient", "chi2", "gpb"} or array, optional
        Boundary strength: ``gradient`` is the gradient magnitude; ``chi2`` is the chi-square distance
        between the histograms of half balls (the paper's mPb); ``gpb`` combines that with normalised cuts
        of the whole volume (the paper's full pipeline). An array is a boundary map ``[D, H, W]`` of numbers
        of at least 0.
    linkage : {"ward", "hybrid", "boundary", "gbh"}, optional
        What decides which regions merge next. With mean intensities that differ by dmu, sizes a and b, and
        mean strength m of the common boundary: ``ward`` is the increase of the variance, ``dmu^2 ab /
        (a + b)`` (Ward 1963); ``hybrid`` is ``(m^2 + dmu^2) ab / (a + b)``; ``boundary`` is m, where the
        direction of the boundary counts if the cue has one (Arbelaez et al., PAMI 2011, and the paper's
        text); ``gbh`` is the graph-based criterion on histograms (Felzenszwalb and Huttenlocher, IJCV
        2004; the authors' release).
    preset : {"default", "paper", "release"}
        Source of ``cue``, ``linkage``, ``min_size`` and ``smoothing`` where they are not given; see
        `PRESETS`.
    min_size : int, optional
        Smallest region in voxels. Smaller ones are merged first, each into the neighbour that ``linkage``
        prefers. ``gbh`` does so on each of its levels, and the size grows by a factor of 1.2 per level.
    smoothing : float, optional
        Standard deviation of the Gaussian that is applied first, 0 to 10, in units of the smallest voxel
        size.
    max_levels : int
        Largest number of levels.
    max_regions : int
        Largest number of regions of the finest level. The numbers of regions fall geometrically to two.
        ``linkage="gbh"`` has its own levels; those with more regions are left out.
    threads : int, optional
        Threads of the native core; by default as many as the process may use.
    device : str
        Where the chi-square cue is computed: ``cpu``, ``cuda`` or ``cuda:N``. All give the same bits.
    progress : callable, optional
        Called with the name of the current step and the share of it that is done, from 0 to 1.

    Returns
    -------
    Hierarchy
        Its leaves are the watershed basins.

    Raises
    ------
    TypeError, ValueError
        If the volume does not hold finite real numbers, is constant inside the mask, or has fewer than two
        voxels along an axis or too many in total; if the mask is empty; or if an option is out of range.
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
    """Return the leaves of the cropped volume, the merges, their altitudes, and the sizes of the leaves."""
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
    """Return the weight of a face across each axis, and the cosine of each direction with the axis."""
    z, y, x = spacing
    largest = max(y * x, z * x, z * y)
    areas = [max(1, round(_FACE_UNITS * area / largest)) for area in (y * x, z * x, z * y)]
    if cue is None or cue.direction is None:
        return areas, []
    cosines = np.zeros((3, 256), np.int64)
    cosines[:, : len(directions())] = np.round(np.abs(directions().T) * _FACE_UNITS)
    return areas, cosines.tolist()
