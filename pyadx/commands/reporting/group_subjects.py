"""Single subjects on the page of a group analysis: the most and the least typical ones."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyadx.commands.reporting.group_results import GroupResults
from pyadx.data.cohort.tables import read_table
from pyadx.data.scans import Scan, read_volume
from pyadx.report.page_parts import PageHeatmap


@dataclass(frozen=True)
class _Candidate:
    path: Path
    row: int
    likeness: float  # correlation with the mean of the subject's group


def subject_maps(results: GroupResults, grid: Scan, inside: np.ndarray, most: int) -> list[PageHeatmap]:
    """Return the maps of some subjects, normalised as in the analysis.

    Parameters
    ----------
    results : GroupResults
        The folder.
    grid : Scan
        A map of the groups, which defines the grid.
    inside : numpy.ndarray
        Mask of the analysis; voxels outside become 0.
    most : int
        Number of subjects. Half of them are most like their group's mean, half are least like it. Both
        groups get the same number.
    """
    if not most:
        return []
    candidates, lost = _candidates(results, grid, inside)
    if lost:
        warnings.warn(
            f"{lost} of {len(results.subjects)} subjects' maps are not at their paths in "
            "second_level.tsv, or were changed; the page leaves these out",
            UserWarning,
            stacklevel=3,
        )
    heatmaps = []
    for one in choose(results, candidates, most):
        subject = results.subjects[one.row]
        values = np.where(inside, read_volume(one.path).data, 0) / np.float32(subject["factor"])
        session = f", {subject['session']}" if subject["session"] else ""
        name = f"{subject['participant_id']}{session} ({subject['group']}, r = {one.likeness:.2f})"
        remark = (
            f"One map of {subject['group']}; it correlates with its group's mean at {one.likeness:.2f}."
        )
        heatmaps.append(PageHeatmap(name, values, remark=remark, listed=True))
    return heatmaps


def choose(results: GroupResults, candidates: list[_Candidate], most: int) -> list[_Candidate]:
    """Select the subjects most and least like their group's mean, in order of likeness."""
    chosen: list[_Candidate] = []
    for place, group in enumerate(results.groups):
        own = [one for one in candidates if results.subjects[one.row]["group"] == group]
        own.sort(key=lambda one: -one.likeness)
        count = (most + 1 - place) // 2
        near = (count + 1) // 2
        chosen += own if len(own) <= count else own[:near] + own[len(own) - (count - near) :]
    return chosen


def _candidates(results: GroupResults, grid: Scan, inside: np.ndarray) -> tuple[list[_Candidate], int]:
    table = read_table(results.folder / "second_level.tsv")
    column = table.needed("effects_map_path")
    if len(table.rows) != len(results.subjects):
        raise ValueError(f"{table.path}: has {len(table.rows)} maps, group.json {len(results.subjects)}")
    means = {group: results.image(group, "mean").data[inside] for group in results.groups}
    found, lost = [], 0
    for place, (row, subject) in enumerate(zip(table.rows, results.subjects, strict=True)):
        path = results.folder / row[column]
        try:
            heat = read_volume(path)
        except (ValueError, OSError):
            lost += 1
            continue
        if not heat.lies_on(grid) or not np.isfinite(heat.data).all():
            lost += 1
            continue
        found.append(_Candidate(path, place, _likeness(heat.data[inside], means[subject["group"]])))
    return found, lost


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
