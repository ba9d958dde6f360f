"""Resample maps from the scans' own spaces to one common grid, with one transform per subject."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyadx.commands.cohorts.manifest import file_sha256
from pyadx.commands.groups.journal import Arrays, Journal, as_bytes, of_bytes, resumed
from pyadx.commands.groups.passes import parts_of
from pyadx.commands.groups.request import GroupRequest
from pyadx.commands.groups.sample import Sample
from pyadx.commands.groups.steps import left_out, refuse_unreadable
from pyadx.data.group_maps import HEATMAP, MapFile
from pyadx.data.heatmaps import sidecar_path, write_heatmap
from pyadx.data.scans import Scan, read_volume
from pyadx.data.transform_files import find_transforms, space_of, transform_of
from pyadx.data.transforms import check_nitransforms, read_transform, resample
from pyadx.inference.progress import progress_bar

FOLDER = "maps"  # subfolder of the results for the moved maps


def with_transforms(request: GroupRequest, sample: Sample) -> Sample:
    """Find the transform of every map, without reading voxels. Does nothing without ``--transforms``.

    Raises
    ------
    ValueError
        If nitransforms is missing, or a subject has no transform, or several.
    """
    if request.transforms is None or request.reference is None:
        return sample
    check_nitransforms()
    space = space_of(request.reference).get("space", "")
    own = sample.maps[0].entities.get("space", "")
    if own and own == space:
        raise ValueError(
            f"{sample.maps[0].path.name}: is in {space} already, like the reference; leave --transforms out"
        )
    files = find_transforms(request.transforms)
    found = [transform_of(one, files, space) for one in sample.maps]
    ends = sorted({one.entities["to"] for one in found if "to" in one.entities})
    if len(ends) > 1:
        raise ValueError(
            f"--transforms: lead to different spaces, {ends[0]} and {ends[1]}; give a pattern in quotes "
            f"that matches those to one, such as '*_to-{ends[0]}_*'"
        )
    place = space_of(request.reference) or ({"space": ends[0]} if ends else {})
    maps = tuple(
        replace(one, transform=file.path, moved={"place": place})
        for one, file in zip(sample.maps, found, strict=True)
    )
    return replace(sample, maps=maps)


@dataclass(frozen=True, eq=False)
class MoveTask:
    """Maps to move, the reference, and where to write them."""

    maps: tuple[MapFile, ...]
    reference: Path
    folder: Path


@dataclass(frozen=True, eq=False)
class Moved:
    """Results of a task by a map's position: facts of the moved map, or the reason of a failure."""

    facts: dict[int, dict[str, Any]]
    unreadable: dict[int, str]


def move_maps(task: MoveTask) -> Moved:
    """Move maps and write them with their sidecars.

    Raises
    ------
    ValueError
        If a transform cannot be read, or moves a map off the reference's grid.
    """
    reference = read_volume(task.reference)
    done = Moved({}, {})
    for at, one in enumerate(task.maps):
        try:
            scan = read_volume(one.path)
        except (ValueError, OSError) as error:
            done.unreadable[at] = str(error)
            continue
        done.facts[at] = _move(one, scan, reference, task)
    return done


def _move(one: MapFile, scan: Scan, reference: Scan, task: MoveTask) -> dict[str, Any]:
    assert one.transform is not None
    try:
        values = resample(scan, read_transform(one.transform, scan, reference), reference)
    except ValueError as error:
        raise ValueError(f"{one.subject}: transform {error}") from None
    if scan.data.any() and not values.any():
        raise ValueError(
            f"{one.subject}: {one.transform.name} leaves nothing of {one.path.name} on the voxels of "
            f"{task.reference.name}: is it the transform of another image, of the other direction, or of "
            "another reference?"
        )
    facts = {
        "participant_id": one.subject,
        "map": one.path.name,
        "transform": one.transform.name,
        "transform_sha256": file_sha256(one.transform),
    }
    target = task.folder / moved_name(one)
    moved = {**facts, "reference": task.reference.name, "interpolation": "linear"}
    write_heatmap(target, values, reference, {**(one.facts or {}), "moved": moved})
    return {**facts, "written": [file_sha256(target), file_sha256(sidecar_path(target))]}


def moved_name(one: MapFile) -> str:
    """Return the file name of a moved map: the map's entities, with the space of the reference."""
    place = (one.moved or {}).get("place", {})
    first = {"sub": one.label.removeprefix("sub-"), "ses": one.entities.get("ses")}
    last = {"space": place.get("space"), "res": place.get("res"), "desc": one.entities.get("desc")}
    rest = {key: value for key, value in one.entities.items() if key not in {**first, **last}}
    parts = {**first, **rest, **last}
    named = [f"{key}-{re.sub(r'[^A-Za-z0-9+]', '', value)}" for key, value in parts.items() if value]
    return "_".join(named) + f"{HEATMAP}.nii.gz"


def moved(request: GroupRequest, sample: Sample, work: Journal) -> Sample:
    """Resample every map to the reference's grid; return the sample with the moved maps.

    Raises
    ------
    ValueError
        As `move_maps`; also if a map cannot be read and unreadable maps are not skipped.
    """
    if request.transforms is None or request.reference is None:
        return sample
    folder = work.folder / FOLDER
    folder.mkdir(exist_ok=True)
    parts = list(parts_of(range(len(sample.maps))))
    tasks = [
        MoveTask(tuple(sample.maps[row] for row in part), request.reference.absolute(), folder)
        for part in parts
    ]
    facts: dict[int, dict[str, Any]] = {}
    unreadable: dict[int, str] = {}
    results = resumed(work, "moved", move_maps, tasks, request.workers, _pack, _unpack)
    with progress_bar("maps moved", len(sample.maps), request.progress) as advance:
        for part, done in zip(parts, results, strict=True):
            facts |= {part[at]: one for at, one in done.facts.items()}
            unreadable |= {part[at]: reason for at, reason in done.unreadable.items()}
            refuse_unreadable(request, unreadable)
            advance(len(part))
    maps = tuple(_on_grid(one, folder, facts.get(row)) for row, one in enumerate(sample.maps))
    return left_out(replace(sample, maps=maps), unreadable)


def _on_grid(one: MapFile, folder: Path, facts: Mapping[str, Any] | None) -> MapFile:
    if facts is None:
        return one
    place = (one.moved or {})["place"]
    rest = {key: value for key, value in one.entities.items() if key not in ("space", "res")}
    told = {**facts, "place": place}
    return replace(one, path=folder / moved_name(one), entities={**rest, **place}, moved=told)


def _pack(done: Moved) -> Arrays:
    return {"moved": as_bytes([list(done.facts.items()), list(done.unreadable.items())])}


def _unpack(task: MoveTask, arrays: Arrays) -> Moved:
    """Return the facts of moved maps whose files are unchanged."""
    facts, unreadable = of_bytes(arrays["moved"])
    done = Moved({int(at): dict(one) for at, one in facts}, {int(at): str(why) for at, why in unreadable})
    if sorted([*done.facts, *done.unreadable]) != list(range(len(task.maps))):
        raise ValueError("the part belongs to other maps")
    for at, one in done.facts.items():
        target = task.folder / moved_name(task.maps[at])
        for path, digest in zip((target, sidecar_path(target)), one["written"], strict=True):
            if not path.is_file() or file_sha256(path) != digest:
                raise ValueError("the file was changed")
    return done


def transform_facts(request: GroupRequest, maps: Sequence[MapFile]) -> dict[str, Any] | None:
    """Return the transforms for ``group.json``; ``None`` if maps were not moved."""
    if request.transforms is None or request.reference is None:
        return None
    names = ("participant_id", "map", "transform", "transform_sha256")
    return {
        "reference": request.reference.name,
        "reference_sha256": file_sha256(request.reference),
        "interpolation": "linear",
        "maps": [
            {**{name: (one.moved or {})[name] for name in names}, "moved": one.path.name} for one in maps
        ],
    }


def transform_words(transforms: Mapping[str, Any] | None) -> str:
    """Return a sentence for the methods text; empty if maps were not moved."""
    if transforms is None:
        return ""
    return (
        " Every map was first resampled from its scan's own space to the voxels of "
        f"{transforms['reference']} with its subject's registration (nitransforms, linear interpolation)."
    )
