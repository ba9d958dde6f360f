"""The long steps of a group analysis, in parts. Parts in the journal are not computed again."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pyadx.commands.cohorts.workers import Workers
from pyadx.commands.groups.journal import Arrays, Journal, as_bytes, of_bytes, resumed
from pyadx.commands.groups.passes import (
    Atlas,
    Sums,
    SumTask,
    Survey,
    SurveyTask,
    add_up,
    in_order,
    parts_of,
    survey,
)
from pyadx.commands.groups.request import GroupRequest
from pyadx.commands.groups.sample import Sample
from pyadx.data.scans import Scan
from pyadx.evaluation.groups import MapMatrix, MapSums
from pyadx.inference.progress import progress_bar


def surveyed(request: GroupRequest, sample: Sample, scan: Scan, work: Journal) -> tuple[Sample, np.ndarray]:
    """Read every map; return the remaining sample, and the voxels where any of its maps is not 0.

    Raises
    ------
    ValueError
        If a map cannot be read and unreadable maps are not skipped, or a map is on another grid.
    """
    touched = np.zeros(scan.data.shape, bool)
    unreadable: dict[int, str] = {}
    parts = list(parts_of(range(len(sample.maps))))
    tasks = [
        SurveyTask(tuple(sample.maps[row].path for row in part), scan.data.shape, scan.affine)
        for part in parts
    ]
    results = resumed(work, "survey", survey, tasks, request.workers, _pack_survey, _unpack_survey)
    with progress_bar("maps read", len(sample.maps), request.progress) as advance:
        for part, seen in zip(parts, results, strict=True):
            touched |= seen.touched
            unreadable |= {part[at]: reason for at, reason in seen.unreadable.items()}
            refuse_unreadable(request, unreadable)
            advance(len(part))
    return left_out(sample, unreadable), touched


def refuse_unreadable(request: GroupRequest, unreadable: dict[int, str]) -> None:
    """Raise ``ValueError`` with the first reason, unless unreadable maps are skipped."""
    if unreadable and not request.skip_unreadable:
        reason = next(iter(unreadable.values()))
        raise ValueError(f"{reason}; --skip-unreadable leaves such maps out and lists them")


def left_out(sample: Sample, unreadable: dict[int, str]) -> Sample:
    """Return the sample without unreadable maps, and warn about them."""
    if not unreadable:
        return sample
    warnings.warn(
        f"{len(unreadable)} of {len(sample.maps)} maps cannot be read and are left out: "
        f"{', '.join(sample.maps[row].subject for row in list(unreadable)[:5])}"
        f"{', ...' if len(unreadable) > 5 else ''}",
        UserWarning,
        stacklevel=3,
    )
    # Reasons begin with the file. Its folders are removed, because they may be private.
    reasons = [
        text.replace(f"{sample.maps[row].path}: ", "").replace(str(sample.maps[row].path.parent), ".")
        for row, text in unreadable.items()
    ]
    return sample.without(list(unreadable), reasons)


def _pack_survey(seen: Survey) -> Arrays:
    return {"touched": np.packbits(seen.touched), "unreadable": as_bytes(list(seen.unreadable.items()))}


def _unpack_survey(task: SurveyTask, arrays: Arrays) -> Survey:
    voxels = int(np.prod(task.shape))
    touched = np.unpackbits(arrays["touched"], count=voxels).astype(bool).reshape(task.shape)
    return Survey(touched, {int(at): str(reason) for at, reason in of_bytes(arrays["unreadable"])})


def added(
    request: GroupRequest,
    sample: Sample,
    mask: np.ndarray,
    matrix: MapMatrix,
    atlas: Atlas | None,
    work: Journal,
) -> tuple[tuple[MapSums, MapSums], list[Sums]]:
    """Normalise the maps and sum them per group, merged in the order of subjects.

    The journal holds facts about the maps of every part, and the running sums of each group. Sums of
    all parts together would take six times the space of the normalised maps.
    """
    members = [[row for row, first in enumerate(sample.first) if first == which] for which in (True, False)]
    parts = [
        (which, place, part)
        for which, group in zip((True, False), members, strict=True)
        for place, part in enumerate(parts_of(group))
    ]
    sums = {which: _GroupSums(work, which, int(mask.sum())) for which in (True, False)}
    held = [
        _held_part(work, at, which, part, matrix, atlas) if place < sums[which].parts else None
        for at, (which, place, part) in enumerate(parts)
    ]
    paths = [tuple(sample.maps[row].path for row in part) for _, _, part in parts]
    tasks = (
        SumTask(part, files, which, mask, request.normalise, matrix, atlas)
        for one, files, (which, _, part) in zip(held, paths, parts, strict=True)
        if one is None
    )
    fresh = in_order(add_up, tasks, request.workers)
    found: list[Sums] = []
    with progress_bar("maps added", len(sample.maps), request.progress) as advance:
        for at, (which, place, part) in enumerate(parts):
            one = held[at]
            if one is None:
                one = next(fresh)
                work.keep(f"sums-{at:05d}", _pack_part(one))
                if place >= sums[which].parts:
                    sums[which].merge(one.maps)
                one.maps = MapSums.empty(0)  # merged already; the numbers per map are kept
            advance(len(part))
            found.append(one)
    return (sums[True].maps, sums[False].maps), found


class _GroupSums:
    """Running sums of a group, stored in the journal after every part."""

    def __init__(self, work: Journal, first: bool, voxels: int) -> None:
        self._work, self._name = work, "sums-first" if first else "sums-second"
        self.maps, self.parts = MapSums.empty(voxels), 0
        arrays = work.held(self._name) or {}
        kept = [arrays.get(name) for name in ("mean", "squares", "strongest")]
        if "counts" in arrays and all(one is not None and one.shape == (voxels,) for one in kept):
            maps, self.parts = (int(n) for n in arrays["counts"])
            self.maps = MapSums(maps, *kept)  # type: ignore[arg-type]

    def merge(self, part: MapSums) -> None:
        self.maps.merge(part)
        self.parts += 1
        counts = np.array([self.maps.count, self.parts])
        maps = self.maps
        self._work.keep(
            self._name,
            {"counts": counts, "mean": maps.mean, "squares": maps.squares, "strongest": maps.strongest},
        )


def _pack_part(one: Sums) -> Arrays:
    return {
        "factors": np.array(list(one.factors.values())),
        "checks": np.array(list(one.checks.values()), np.uint32),
        "regions": as_bytes(list(one.regions.values())),
    }


def _held_part(
    work: Journal, at: int, first: bool, part: Sequence[int], matrix: MapMatrix, atlas: Atlas | None
) -> Sums | None:
    """Return the stored part, unless its rows in the matrix have changed."""
    arrays = work.held(f"sums-{at:05d}")
    try:
        if arrays is None:
            return None
        checks = dict(zip(part, map(int, arrays["checks"]), strict=True))
        factors = dict(zip(part, map(float, arrays["factors"]), strict=True))
        regions = of_bytes(arrays["regions"])
        tables = {} if atlas is None else dict(zip(part, regions, strict=True))
    except (ValueError, KeyError, TypeError):
        return None
    if any(matrix.check_of(row) != check for row, check in checks.items()):
        return None
    return Sums(first, MapSums.empty(0), factors, tables, checks)


def blocks_tested(
    work: Journal, workers: Workers, permutations: int, controls: int, do: Any, tasks: Iterable[Any]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Test blocks of voxels; this is the ``run`` argument of `permutation_test`."""

    def pack(result: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Arrays:
        return dict(zip(("t", "maxima", "shuffled"), result, strict=True))

    def unpack(task: Any, arrays: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        result = arrays["t"], arrays["maxima"], arrays["shuffled"]
        if [len(one) for one in result] != [task.stop - task.start, permutations, controls]:
            raise ValueError("the part belongs to another block")
        return result

    return resumed(work, "voxels", do, list(tasks), workers, pack, unpack)
