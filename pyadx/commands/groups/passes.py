"""Two passes over the maps: first readable maps and their non-zero voxels, then sums and regions."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.cohorts.workers import Workers, run_tasks
from pyadx.data.region_tables import region_table
from pyadx.data.scans import Scan, read_volume
from pyadx.evaluation.groups import MapMatrix, MapSums, normalising_factor

_PART = 8  # maps per task: few enough to spread over workers, many enough for cheap merging
_SAME_PLACE = 1e-3  # tolerance of affines, mm
_ONE_GRID = (
    "maps of a group need one grid in one space: explain scans in one space (pyadx explain-cohort "
    "--space), or move maps from the scans' own spaces with --transforms and --reference"
)


@dataclass(frozen=True, eq=False)
class Atlas:
    """Regions on the maps' grid: their numbers, their names, and the files of both."""

    file: str
    key: str | None
    labels: np.ndarray
    names: dict[int, str]
    numbers: np.ndarray


@dataclass(frozen=True, eq=False)
class SurveyTask:
    """Maps to read, and the grid that they should be on."""

    paths: tuple[Path, ...]
    shape: tuple[int, ...]
    affine: np.ndarray


@dataclass(frozen=True, eq=False)
class Survey:
    """Results of reading maps.

    Attributes
    ----------
    touched : numpy.ndarray
        bool ``[I, J, K]``: voxels where any map is not 0.
    unreadable : dict
        Reasons by a map's position in the task.
    """

    touched: np.ndarray
    unreadable: dict[int, str]


def survey(task: SurveyTask) -> Survey:
    """Read maps once.

    Raises
    ------
    ValueError
        If a readable map is on another grid.
    """
    touched, unreadable = np.zeros(task.shape, bool), {}
    for at, path in enumerate(task.paths):
        try:
            scan = read_volume(path)
        except (ValueError, OSError) as error:
            unreadable[at] = str(error)
            continue
        if scan.data.shape != task.shape:
            raise ValueError(
                f"{path}: has {_times(scan.data.shape)} voxels, the first map {_times(task.shape)}; "
                f"{_ONE_GRID}"
            )
        if not np.allclose(scan.affine, task.affine, atol=_SAME_PLACE):
            apart = np.abs(scan.affine - task.affine).max()
            raise ValueError(
                f"{path}: has another position than the first map (affines differ by up to {apart:.3g}); "
                f"{_ONE_GRID}"
            )
        touched |= scan.data != 0
    return Survey(touched, unreadable)


@dataclass(frozen=True, eq=False)
class SumTask:
    """Maps of one group to add up.

    Attributes
    ----------
    rows : tuple of int
        Rows of the sample.
    paths : tuple of Path
        Their maps.
    first : bool
        True for the first group.
    mask : numpy.ndarray
        bool ``[I, J, K]``.
    normalise : str
        See `normalising_factor`.
    matrix : MapMatrix or None
        Matrix of all maps for the permutations.
    atlas : Atlas or None
        Atlas for the region tables.
    """

    rows: tuple[int, ...]
    paths: tuple[Path, ...]
    first: bool
    mask: np.ndarray
    normalise: str
    matrix: MapMatrix | None
    atlas: Atlas | None


@dataclass(eq=False)
class Sums:
    """Sums of a part of a group, and by row each map's divisor and region table.

    ``checks`` are check sums of the rows written into the matrix.
    """

    first: bool
    maps: MapSums
    factors: dict[int, float] = field(default_factory=dict)
    regions: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    checks: dict[int, int] = field(default_factory=dict)


def add_up(task: SumTask) -> Sums:
    """Normalise maps, add them to sums, and write their rows.

    Raises
    ------
    ValueError
        If a map cannot be read or normalised.
    """
    part = Sums(task.first, MapSums.empty(int(task.mask.sum())))
    for row, path in zip(task.rows, task.paths, strict=True):
        scan = read_volume(path)
        values = scan.data[task.mask].astype(np.float64)
        try:
            factor = normalising_factor(values, task.normalise)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        values /= factor
        part.maps.add(values)
        part.factors[row] = factor
        if task.matrix is not None:
            part.checks[row] = task.matrix.write(row, values)
        if task.atlas is not None:
            atlas = task.atlas
            whole = scan.data.astype(np.float64) / factor
            part.regions[row] = region_table(
                whole, atlas.labels, scan.affine, atlas.names, numbers=atlas.numbers
            )
    return part


def parts_of(rows: Iterable[int]) -> Iterator[tuple[int, ...]]:
    """Yield rows part by part. Parts do not depend on the number of workers, so neither do the bytes."""
    whole = list(rows)
    for start in range(0, len(whole), _PART):
        yield tuple(whole[start : start + _PART])


def in_order(work: Callable[[Any], Any], tasks: Iterable[Any], workers: Workers) -> Iterator[Any]:
    """Run tasks on all workers; yield the results in the order of the tasks.

    Raises
    ------
    OSError
        If a task's worker was lost several times.
    """
    waiting: dict[int, Any] = {}
    wanted = 0
    for item, result in run_tasks(_work_on, ((work, at, one) for at, one in enumerate(tasks)), workers):
        if isinstance(result, BaseException):
            raise OSError(f"a worker was lost several times ({result})")
        waiting[item[1]] = result
        while wanted in waiting:
            yield waiting.pop(wanted)
            wanted += 1


def _work_on(item: tuple[Callable[[Any], Any], int, Any]) -> Any:
    work, _, task = item
    return work(task)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def first_readable(paths: Iterable[Path]) -> Scan:
    """Return the first map that can be read.

    Raises
    ------
    ValueError
        If no map can be read, with the reason of the last one.
    """
    reason = "there are no maps"
    for path in paths:
        try:
            return read_volume(path)
        except (ValueError, OSError) as error:
            reason = str(error)
    raise ValueError(reason)
