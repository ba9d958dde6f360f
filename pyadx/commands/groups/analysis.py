"""The analysis itself: two passes over the maps, then tests, regions, controls and comparison."""

import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.groups.passes import (
    Atlas,
    Sums,
    SumTask,
    SurveyTask,
    add_up,
    first_readable,
    in_order,
    parts_of,
    survey,
)
from pyadx.commands.groups.regions import (
    RegionTests,
    RegionValues,
    compare_regions,
    of_atlas,
    of_sidecars,
    read_atlas,
)
from pyadx.commands.groups.request import GroupRequest
from pyadx.commands.groups.sample import Sample
from pyadx.data.literature_maps import read_on_grid
from pyadx.data.regions import read_mask
from pyadx.data.scans import Scan
from pyadx.evaluation.groups import (
    Design,
    MapMatrix,
    MapSums,
    PermutationTest,
    SpatialCorrelation,
    permutation_test,
    spatial_correlation,
)
from pyadx.evaluation.groups.permutations import cluster_test
from pyadx.files import remove_partial, temporary_name
from pyadx.inference.progress import progress_bar


@dataclass(eq=False)
class Analysis:
    """Everything that was found, before it is written.

    Attributes
    ----------
    scan : Scan
        The first map, for the grid.
    mask : numpy.ndarray
        bool ``[I, J, K]``; maps below are ``[V]`` on its voxels.
    sums : pair of MapSums
        Of either group.
    factors : numpy.ndarray
        float64 ``[N]``, what every map was divided by.
    test : PermutationTest
        Of voxels.
    clusters : dict of numpy.ndarray
        See `cluster_test`; empty where it was not asked for.
    atlas : Atlas or None
        The regions of the maps' grid.
    regions : RegionValues or None
        Of every subject.
    region_tests : RegionTests
        Empty without regions.
    correlation : SpatialCorrelation or None
        With the map of the literature.
    seconds : dict
        How long each part took.
    """

    request: GroupRequest
    sample: Sample
    design: Design
    scan: Scan
    mask: np.ndarray
    sums: tuple[MapSums, MapSums]
    factors: np.ndarray
    test: PermutationTest
    clusters: dict[str, np.ndarray]
    atlas: Atlas | None
    regions: RegionValues | None
    region_tests: RegionTests
    correlation: SpatialCorrelation | None
    seconds: dict[str, float]


def analyse(request: GroupRequest, sample: Sample) -> Analysis:
    """Read all maps twice and test what is in them; nothing but a temporary file is written.

    Raises
    ------
    ValueError
        If a map, mask, atlas or other map does not fit.
    """
    seconds: dict[str, float] = {}
    scan = first_readable(one.path for one in sample.maps)
    started = time.perf_counter()
    # What may be refused comes first.
    sample.design()
    atlas = read_atlas(request, scan)
    given = None if request.mask is None else read_mask(request.mask, scan)
    other = None if request.compare is None else read_on_grid(request.compare, scan)
    sample, touched = _surveyed(request, sample, scan)
    design = sample.design()
    shapley = of_sidecars(sample, request.normalise) if request.values == "shapley" else None
    mask = touched if given is None else given
    if not (mask & touched).any():
        raise ValueError("every map is zero everywhere inside the mask: there is nothing to compare")
    if other is not None and np.ptp(other[mask]) == 0:
        raise ValueError(
            f"{request.compare}: is constant inside the mask: nothing can be correlated with it"
        )
    seconds["survey"] = _since(started)
    generator = np.random.default_rng([request.seed, 1])
    controls = [design.shuffled(generator) for _ in range(request.null)]
    with _scratch(request.out, len(sample.maps), int(mask.sum())) as matrix:
        started = time.perf_counter()
        sums, found = _added(request, sample, mask, matrix, atlas)
        seconds["sums"] = _since(started)
        test, clusters = _tested(request, design, matrix, mask, scan, controls, seconds)
        correlation = None
        if other is not None:
            correlation = spatial_correlation(
                matrix, other[mask], design, permutations=request.permutations or 1000, seed=request.seed
            )
    rows: dict[int, list[dict[str, Any]]] = {row: t for one in found for row, t in one.regions.items()}
    regions = shapley if atlas is None else of_atlas(atlas, sample, rows)
    started = time.perf_counter()
    tests = RegionTests()
    if regions is not None:
        tests = compare_regions(regions, sample, design, controls, request)
        seconds["regions"] = _since(started)
    factors = {row: factor for one in found for row, factor in one.factors.items()}
    return Analysis(
        request, sample, design, scan, mask, sums,
        np.array([factors[row] for row in range(len(sample.maps))]), test, clusters, atlas, regions,
        tests, correlation, seconds,
    )  # fmt: skip


@contextmanager
def _scratch(out: Path, subjects: int, voxels: int) -> Iterator[MapMatrix]:
    """Yield a file for normalised maps beside the results, where every worker of a cluster reaches it."""
    target = out.absolute().with_name(f"{out.absolute().name}.maps.npy")
    remove_partial(target)  # of a run that was killed
    path = temporary_name(target)
    try:
        yield MapMatrix.create(path, subjects, voxels)
    finally:
        path.unlink(missing_ok=True)


def _surveyed(request: GroupRequest, sample: Sample, scan: Scan) -> tuple[Sample, np.ndarray]:
    """Look at every map; return who is left, and where any map of theirs is not 0."""
    touched = np.zeros(scan.data.shape, bool)
    unreadable: dict[int, str] = {}
    parts = list(parts_of(range(len(sample.maps))))
    tasks = (
        SurveyTask(tuple(sample.maps[row].path for row in part), scan.data.shape, scan.affine)
        for part in parts
    )
    with progress_bar("maps read", len(sample.maps), request.progress) as advance:
        for part, seen in zip(parts, in_order(survey, tasks, request.workers), strict=True):
            touched |= seen.touched
            unreadable |= {part[at]: reason for at, reason in seen.unreadable.items()}
            if unreadable and not request.skip_unreadable:
                reason = next(iter(unreadable.values()))
                raise ValueError(f"{reason}; --skip-unreadable leaves such maps out and lists them")
            advance(len(part))
    if unreadable:
        warnings.warn(
            f"{len(unreadable)} of {len(sample.maps)} maps cannot be read and are left out: "
            f"{', '.join(sample.maps[row].subject for row in list(unreadable)[:5])}"
            f"{', ...' if len(unreadable) > 5 else ''}",
            UserWarning,
            stacklevel=3,
        )
        # Reasons begin with the file, whose folders are nobody's business.
        reasons = [
            text.replace(f"{sample.maps[row].path}: ", "").replace(str(sample.maps[row].path.parent), ".")
            for row, text in unreadable.items()
        ]
        sample = sample.without(list(unreadable), reasons)
    return sample, touched


def _added(
    request: GroupRequest, sample: Sample, mask: np.ndarray, matrix: MapMatrix, atlas: Atlas | None
) -> tuple[tuple[MapSums, MapSums], list[Sums]]:
    """Normalise the maps and add them up, group by group; merged in the order of subjects."""
    members = [[row for row, first in enumerate(sample.first) if first == which] for which in (True, False)]
    parts = [
        (which, part)
        for which, group in zip((True, False), members, strict=True)
        for part in parts_of(group)
    ]
    tasks = (
        SumTask(
            part,
            tuple(sample.maps[row].path for row in part),
            which,
            mask,
            request.normalise,
            matrix,
            atlas,
        )
        for which, part in parts
    )
    voxels = int(mask.sum())
    sums = (MapSums.empty(voxels), MapSums.empty(voxels))
    found: list[Sums] = []
    with progress_bar("maps added", len(sample.maps), request.progress) as advance:
        for one in in_order(add_up, tasks, request.workers):
            sums[0 if one.first else 1].merge(one.maps)
            advance(one.maps.count)
            one.maps = MapSums.empty(0)  # merged: only figures stay
            found.append(one)
    return sums, found


def _tested(
    request: GroupRequest,
    design: Design,
    matrix: MapMatrix,
    mask: np.ndarray,
    scan: Scan,
    controls: list[Design],
    seconds: dict[str, float],
) -> tuple[PermutationTest, dict[str, np.ndarray]]:
    started = time.perf_counter()
    with progress_bar("voxels tested", matrix.shape[1], request.progress) as advance:

        def run(work: Any, tasks: Iterable[Any]) -> Iterator[Any]:
            for result in in_order(work, tasks, request.workers):
                advance(len(result[0]))
                yield result

        test = permutation_test(
            matrix, design, permutations=request.permutations, seed=request.seed, controls=controls, run=run
        )
    seconds["permutations"] = _since(started)
    if request.cluster_threshold is None and not request.tfce:
        return test, {}
    started = time.perf_counter()
    clusters = cluster_test(
        matrix, design, mask, scan.affine, permutations=request.permutations, seed=request.seed,
        forming_p=request.cluster_threshold, tfce=request.tfce, jobs=request.workers.count,
    )  # fmt: skip
    seconds["clusters"] = _since(started)
    return test, clusters


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)
