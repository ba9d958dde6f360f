"""The group analysis: two passes over the maps, then tests, regions, controls and comparison."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.commands.groups.journal import Journal
from pyadx.commands.groups.moving import moved
from pyadx.commands.groups.passes import Atlas, first_readable
from pyadx.commands.groups.regions import (
    REGION_CONTROLS,
    RegionTests,
    RegionValues,
    compare_regions,
    of_atlas,
    of_sidecars,
    read_atlas,
)
from pyadx.commands.groups.request import GroupRequest
from pyadx.commands.groups.sample import Sample
from pyadx.commands.groups.steps import added, blocks_tested, surveyed
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
from pyadx.inference.progress import progress_bar


@dataclass(eq=False)
class Analysis:
    """All results, before they are written.

    Attributes
    ----------
    scan : Scan
        The first map, which defines the grid.
    mask : numpy.ndarray
        bool ``[I, J, K]``; maps below are ``[V]`` on its voxels.
    sums : pair of MapSums
        Sums of each group.
    factors : numpy.ndarray
        float64 ``[N]``, the divisor of every map.
    test : PermutationTest
        Test of voxels.
    clusters : dict of numpy.ndarray
        See `cluster_test`; empty if no test of clusters was requested.
    atlas : Atlas or None
        The atlas on the maps' grid.
    regions : RegionValues or None
        Region values of every subject.
    region_tests : RegionTests
        Empty without regions.
    correlation : SpatialCorrelation or None
        Correlation with the published map.
    seconds : dict
        Duration of each step.
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


def analyse(request: GroupRequest, sample: Sample, work: Journal) -> Analysis:
    """Read all maps twice and test them. Only the journal is written.

    Raises
    ------
    ValueError
        If a map, the mask, the atlas or the published map does not fit.
    """
    seconds: dict[str, float] = {}
    scan = first_readable([request.reference] if request.reference else [one.path for one in sample.maps])
    started = time.perf_counter()
    # Steps that may refuse the input come first.
    sample.design()
    atlas = read_atlas(request, scan)
    given = None if request.mask is None else read_mask(request.mask, scan)
    other = None if request.compare is None else read_on_grid(request.compare, scan)
    sample = moved(request, sample, work)
    sample, touched = surveyed(request, sample, scan, work)
    design = sample.design()
    shapley = of_sidecars(sample, request.normalise) if request.values == "shapley" else None
    mask = touched if given is None else given
    if not (mask & touched).any():
        raise ValueError("every map is zero everywhere inside the mask: there is nothing to compare")
    if other is not None and np.ptp(other[mask]) == 0:
        raise ValueError(f"{request.compare}: is constant inside the mask, so its correlation is undefined")
    seconds["survey"] = _since(started)
    generator = np.random.default_rng([request.seed, 1])
    several = max(request.null, REGION_CONTROLS) if request.null else 0
    shuffles = [design.shuffled(generator) for _ in range(several)]
    controls = shuffles[: request.null]
    # Beside the results, where every worker of a cluster can reach it.
    matrix = MapMatrix.create(work.folder / "maps.npy", len(sample.maps), int(mask.sum()), keep=True)
    started = time.perf_counter()
    sums, found = added(request, sample, mask, matrix, atlas, work)
    seconds["sums"] = _since(started)
    test, clusters = _tested(request, design, matrix, mask, scan, controls, seconds, work)
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
        tests = compare_regions(regions, sample, design, shuffles, request)
        seconds["regions"] = _since(started)
    factors = {row: factor for one in found for row, factor in one.factors.items()}
    return Analysis(
        request, sample, design, scan, mask, sums,
        np.array([factors[row] for row in range(len(sample.maps))]), test, clusters, atlas, regions,
        tests, correlation, seconds,
    )  # fmt: skip


def _tested(
    request: GroupRequest,
    design: Design,
    matrix: MapMatrix,
    mask: np.ndarray,
    scan: Scan,
    controls: list[Design],
    seconds: dict[str, float],
    work: Journal,
) -> tuple[PermutationTest, dict[str, np.ndarray]]:
    started = time.perf_counter()
    with progress_bar("voxels tested", matrix.shape[1], request.progress) as advance:

        def run(do: Any, tasks: Iterable[Any]) -> Iterator[Any]:
            asked = (request.workers, request.permutations, len(controls))
            for result in blocks_tested(work, *asked, do, tasks):
                advance(len(result[0]))
                yield result

        test = permutation_test(
            matrix, design, permutations=request.permutations, seed=request.seed, controls=controls, run=run
        )
    seconds["permutations"] = _since(started)
    if request.cluster_threshold is None and not request.tfce:
        return test, {}
    started = time.perf_counter()
    held = work.held("clusters")
    clusters = held or cluster_test(
        matrix, design, mask, scan.affine, permutations=request.permutations, seed=request.seed,
        forming_p=request.cluster_threshold, tfce=request.tfce, jobs=request.workers.count,
    )  # fmt: skip
    if held is None:
        work.keep("clusters", clusters)
    seconds["clusters"] = _since(started)
    return test, clusters


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)
