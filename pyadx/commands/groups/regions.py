"""Region values of subjects, from an atlas or from Shapley values in sidecars, and group tests."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyadx.commands.groups.passes import Atlas
from pyadx.commands.groups.request import GroupRequest
from pyadx.commands.groups.sample import Sample
from pyadx.commands.reporting.regions import names_of, tell_names
from pyadx.data.flatness import refuse_flat
from pyadx.data.region_tables import COLUMNS, side_of
from pyadx.data.regions import labels_on_scan, read_labels
from pyadx.data.scans import Scan
from pyadx.evaluation.groups import Design, normalising_factor
from pyadx.evaluation.groups.region_permutations import RegionNull, permute_regions
from pyadx.evaluation.groups.region_statistics import asymmetries, group_table, shuffled_findings

_Rows = list[dict[str, Any]]

_OF_REGION = (
    "index", "name", "hemisphere", "n_voxels", "volume_mm3", "mean", "sum", "share_of_total", "p95", "max",
    "fraction_above", "rank",
)  # fmt: skip
SUBJECT_COLUMNS: dict[str, str] = {
    "participant_id": "The subject.",
    "session": "Session of the map, if its name has one.",
    "atlas": "Label volume that defines the regions.",
    **{name: COLUMNS[name][0] for name in _OF_REGION},
}


@dataclass(frozen=True, eq=False)
class RegionValues:
    """One value per subject and region, and the long table that it comes from.

    Attributes
    ----------
    atlas, key : str or None
        File names of the label volume and of the key.
    names : tuple of str
        ``[K]``.
    values : numpy.ndarray
        float64 ``[N, K]``.
    rows : list of dict
        One per subject and region, with the keys `SUBJECT_COLUMNS`.
    """

    atlas: str
    key: str | None
    names: tuple[str, ...]
    values: np.ndarray
    rows: list[dict[str, Any]]


def read_atlas(request: GroupRequest, scan: Scan) -> Atlas | None:
    """Resample the atlas to the maps' grid.

    Raises
    ------
    ValueError
        If the atlas cannot be read, does not overlap the maps, or its key names none of its numbers.
    """
    if request.regions is None:
        return None
    volume = read_labels(request.regions)
    refuse_flat(volume.path, volume.data, "label volume")
    names, source = names_of(volume, request.key)
    every = np.unique(volume.data[volume.data > 0]).astype(np.int64)
    tell_names(every, names, source)
    labels = labels_on_scan(volume, scan)
    there = np.unique(labels[labels > 0]).astype(np.int64)
    lost = [names.get(int(n), str(n)) for n in np.setdiff1d(every, there)]
    if lost:
        warnings.warn(
            f"{len(lost)} of {len(every)} regions have no voxel on the maps' grid and are left out: "
            f"{', '.join(lost[:5])}{', ...' if len(lost) > 5 else ''}",
            UserWarning,
            stacklevel=2,
        )
    return Atlas(volume.path.name, source, labels, names, there)


def of_atlas(atlas: Atlas, sample: Sample, tables: Mapping[int, Sequence[dict[str, Any]]]) -> RegionValues:
    """Join the region tables of all subjects; the value of a region is its mean."""
    rows = [
        {**_subject(sample, row, atlas.file), **{name: one[name] for name in _OF_REGION}}
        for row in range(len(sample.maps))
        for one in tables[row]
    ]
    names = tuple(str(one["name"]) for one in tables[0])
    values = np.array([[one["mean"] for one in tables[row]] for row in range(len(sample.maps))])
    return RegionValues(atlas.file, atlas.key, names, values, rows)


def of_sidecars(sample: Sample, normalise: str) -> RegionValues:
    """Read the Shapley values of regions from the sidecars.

    Raises
    ------
    ValueError
        If a sidecar has no Shapley values, or has other regions than the first one.
    """
    found, first = [], None
    for one in sample.maps:
        report = (one.facts or {}).get("report") or {}
        labels, names, values = (report.get(part) for part in ("labels", "names", "values"))
        if not (labels and names and values) or not len(labels) == len(names) == len(values):
            raise ValueError(
                f"{one.path.name}: its sidecar has no Shapley values of regions; explain with "
                "--method shapley --regions ATLAS, or use --values mean"
            )
        first = first or (labels, names)
        if (labels, names) != first:
            raise ValueError(
                f"{sample.maps[0].path.name} and {one.path.name}: different regions; use one atlas"
            )
        numbers = np.array(values, np.float64)
        try:
            found.append(numbers / normalising_factor(numbers, normalise))
        except ValueError as error:
            raise ValueError(f"{one.path.name}: Shapley values: {error}") from None
    assert first is not None
    atlas = str(((sample.maps[0].facts or {}).get("atlas") or {}).get("file") or "n/a")
    values = np.stack(found)
    rows = [
        row
        for at in range(len(sample.maps))
        for row in _shapley_rows(_subject(sample, at, atlas), *first, values[at])
    ]
    return RegionValues(atlas, None, tuple(map(str, first[1])), values, rows)


def _shapley_rows(
    subject: dict[str, Any], labels: Sequence[int], names: Sequence[str], values: np.ndarray
) -> list[dict[str, Any]]:
    total = float(np.abs(values).sum())
    places = {value: place for place, value in reversed(list(enumerate(sorted(values, reverse=True), 1)))}
    rows = []
    for label, name, value in zip(labels, names, values, strict=True):
        side = side_of(str(name))
        row: dict[str, Any] = {**subject, **dict.fromkeys(_OF_REGION)}
        row |= {"index": label, "name": name, "hemisphere": side and side[0], "sum": float(value)}
        row |= {"share_of_total": abs(float(value)) / total if total else 0.0, "rank": places[value]}
        rows.append(row)
    return rows


def _subject(sample: Sample, row: int, atlas: str) -> dict[str, Any]:
    one = sample.maps[row]
    session = one.entities.get("ses")
    return {
        "participant_id": one.subject,
        "session": f"ses-{session}" if session else None,
        "atlas": atlas,
    }


# Testing regions takes milliseconds. This number of controls distinguishes 5% from 10%.
REGION_CONTROLS = 1000


@dataclass(frozen=True, eq=False)
class RegionTests:
    """Comparison of groups in regions, and its controls with shuffled labels.

    Attributes
    ----------
    tables : dict
        Rows of `group_table` under ``groups``, ``asymmetry`` and ``outcomes``. ``asymmetry`` is empty if
        names have no sides, ``outcomes`` if the correctness of predictions is unknown.
    null : list of int
        Number of regions found by each control.
    """

    tables: dict[str, _Rows] = field(default_factory=dict)
    null: list[int] = field(default_factory=list)

    def contrast(self, part: str, groups: tuple[str, str]) -> _Rows:
        """Return a table's rows of the contrast; none if the table is missing."""
        words = " - ".join(groups)
        return [row for row in self.tables.get(part, ()) if row["group"] == words]


def compare_regions(
    found: RegionValues, sample: Sample, design: Design, controls: Sequence[Design], request: GroupRequest
) -> RegionTests:
    """Compare the groups in every region, by left-right asymmetry, and by correct or wrong prediction."""

    def table(names: Sequence[str], values: np.ndarray, part: Design, groups: tuple[str, str]) -> _Rows:
        return group_table(names, values, part, groups, _null(values, part, request))

    null = _null(found.values, design, request)
    pairs, asymmetry = asymmetries(found.names, found.values)
    tables = {
        "groups": group_table(found.names, found.values, design, sample.groups, null),
        "asymmetry": table(pairs, asymmetry, design, sample.groups) if pairs else [],
        "outcomes": _by_outcome(found, sample, design, table),
    }
    return RegionTests(tables, shuffled_findings(found.values, controls, null))


def _null(values: np.ndarray, design: Design, request: GroupRequest) -> RegionNull | None:
    if not request.region_permutations:
        return None
    return permute_regions(values, design, permutations=request.region_permutations, seed=request.seed)


def _by_outcome(
    found: RegionValues, sample: Sample, design: Design, table: Callable[..., _Rows]
) -> list[dict[str, Any]]:
    """Compare groups among correct and wrong predictions, and correct with wrong within each group.

    Covariates are left out, because such subsets often have fewer subjects than columns.
    """
    outcomes = np.array([sample.outcome(row) or "" for row in range(len(sample.maps))])
    one, two = sample.groups
    parts = {
        f"{group} {outcome}": (design.first == (group == one)) & (outcomes == outcome)
        for group in (one, two)
        for outcome in ("correct", "wrong")
    }
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for first, second in (
        (f"{one} correct", f"{two} correct"),
        (f"{one} wrong", f"{two} wrong"),
        (f"{one} correct", f"{one} wrong"),
        (f"{two} correct", f"{two} wrong"),
    ):
        if min(parts[first].sum(), parts[second].sum()) < 2:
            continue
        who = parts[first] | parts[second]
        part = Design(parts[first][who])
        for row in table(found.names, found.values[who], part, (first, second)):
            rows.setdefault((row["name"], row["group"]), row)
    return list(rows.values())
