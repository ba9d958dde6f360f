"""Select the maps and subjects of the groups, and list those left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyadx.commands.cohorts.manifest import Manifest
from pyadx.commands.groups.request import GroupRequest
from pyadx.data.cohort.records import class_of
from pyadx.data.file_kinds import scan_suffix
from pyadx.data.group_maps import MapFile, check_one_kind, map_file, maps_below, weights_of
from pyadx.data.participants import People, read_people
from pyadx.evaluation.groups import Covariate, Design, make_design


@dataclass(frozen=True)
class LeftOut:
    """A subject or map that was left out, and the reason."""

    participant_id: str
    file: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """The maps of an analysis, one per subject, and their subjects.

    Attributes
    ----------
    maps : tuple of MapFile
        One per subject.
    first : tuple of bool
        True for subjects in the first group of the contrast.
    covariates : tuple of Covariate
        Covariates of these subjects.
    left_out : tuple of LeftOut
        All other subjects.
    groups : tuple of str
        The two groups as the table spells them.
    """

    maps: tuple[MapFile, ...]
    first: tuple[bool, ...]
    covariates: tuple[Covariate, ...]
    left_out: tuple[LeftOut, ...]
    groups: tuple[str, str]

    def group_of(self, row: int) -> str:
        """Return the group of a subject."""
        return self.groups[0] if self.first[row] else self.groups[1]

    @property
    def networks(self) -> list[str]:
        """Sorted hashes of the maps' networks, as far as sidecars name them."""
        return sorted({weights_of(one) or "" for one in self.maps} - {""})

    def predicted(self, row: int) -> str | None:
        """Return the class predicted for the subject's scan, if the sidecar names it."""
        told = (self.maps[row].facts or {}).get("prediction")
        if not isinstance(told, dict) or not told:
            return None
        return str(max(told, key=lambda name: told[name]))

    def outcome(self, row: int) -> str | None:
        """Return ``correct`` or ``wrong``; ``None`` if the groups are not classes of the network."""
        told, classes = self.predicted(row), (self.maps[row].facts or {}).get("prediction", {})
        own = class_of(self.group_of(row), tuple(classes))
        if told is None or own is None:
            return None
        return "correct" if told == own else "wrong"

    def without(self, rows: Sequence[int], reasons: Sequence[str]) -> "Sample":
        """Return the sample without some subjects, and add these to ``left_out``.

        Raises
        ------
        ValueError
            If fewer than two subjects are left in a group.
        """
        gone = dict(zip(rows, reasons, strict=True))
        kept = [row for row in range(len(self.maps)) if row not in gone]
        listed = [LeftOut(self.maps[r].subject, self.maps[r].path.name, gone[r]) for r in gone]
        smaller = replace(
            self,
            maps=tuple(self.maps[row] for row in kept),
            first=tuple(self.first[row] for row in kept),
            covariates=tuple(replace(c, cells=tuple(c.cells[r] for r in kept)) for c in self.covariates),
            left_out=(*self.left_out, *listed),
        )
        _check_sizes(smaller)
        return smaller

    def design(self) -> Design:
        """Return the design matrix.

        Raises
        ------
        ValueError
            If covariates do not fit.
        """
        return make_design(self.first, self.covariates)


def read_sample(request: GroupRequest) -> Sample:
    """Find the maps and match them with the table, without reading voxels.

    Raises
    ------
    ValueError
        If maps or table do not fit (see `check_one_kind` and `read_people`), a group is missing or has
        fewer than two maps, or a covariate is missing.
    """
    maps, left_out = _chosen(request)
    people = read_people(request.participants, request.group_column, request.covariates)
    groups = _groups(request, people)
    kept = []
    for one in maps:
        group = people.groups.get(one.label)
        if group in groups:
            kept.append(one)
            continue
        reason = f"not in {people.path.name}" if group is None else f"group {group or 'missing'}"
        left_out.append(LeftOut(one.subject, one.path.name, reason))
    known = {one.label for one in maps}
    for label, group in people.groups.items():
        if group in groups and label not in known:
            left_out.append(LeftOut(label, "", "no map"))
    kept.sort(key=lambda one: (one.label, one.path.name))
    first = tuple(people.groups[one.label] == groups[0] for one in kept)
    sample = Sample(tuple(kept), first, (), tuple(left_out), groups)
    if kept:
        check_one_kind(kept, several_networks=request.several_networks)
    _check_sizes(sample)
    covariates = _covariates(people, kept)
    if request.several_networks:
        covariates = (*covariates, *_networks(kept))
    return replace(sample, covariates=covariates)


def _chosen(request: GroupRequest) -> tuple[list[MapFile], list[LeftOut]]:
    found: dict[Path, MapFile] = {}
    left_out: list[LeftOut] = []
    for path in request.maps:
        for one in _maps_of(path, request.skip_unreadable, left_out):
            found.setdefault(one.path.resolve(), one)
    chosen = list(found.values())
    for option, key, wanted in (("desc", "desc", request.desc), ("session", "ses", request.session)):
        if wanted is None:
            continue
        label = wanted.removeprefix(f"{key}-")
        there = sorted({one.entities.get(key, "none") for one in chosen})
        chosen = [one for one in chosen if one.entities.get(key) == label]
        if not chosen:
            raise ValueError(f"--{option} {wanted}: no map has it; there are {', '.join(there)[:200]}")
    return chosen, left_out


def _maps_of(path: Path, skip: bool, left_out: list[LeftOut]) -> list[MapFile]:
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    manifest = path / "manifest.jsonl" if path.is_dir() else path
    if manifest.suffix == ".jsonl" and manifest.is_file():
        return _of_manifest(manifest, skip, left_out)
    if path.is_dir():
        return [map_file(file) for file in maps_below(path)]
    if not scan_suffix(path):
        raise ValueError(f"{path}: is neither a heatmap, a folder nor a manifest.jsonl")
    return [map_file(path)]


def _of_manifest(path: Path, skip: bool, left_out: list[LeftOut]) -> list[MapFile]:
    done = [entry for entry in Manifest(path).entries.values() if entry.status == "done"]
    if not done:
        raise ValueError(f"{path}: lists no finished heatmap")
    maps = []
    for entry in done:
        file = path.parent / entry.file
        if file.is_file():
            maps.append(map_file(file, entry.subject))
        elif skip:
            left_out.append(LeftOut(entry.subject, file.name, "listed in the manifest, but not there"))
        else:
            raise ValueError(
                f"{path}: {entry.file} is not there; run explain-cohort again or use --skip-unreadable"
            )
    return maps


def _groups(request: GroupRequest, people: People) -> tuple[str, str]:
    there = sorted({group for group in people.groups.values() if group})
    found = []
    for asked in request.groups:
        same = [group for group in there if group == asked]
        same = same or [group for group in there if group.casefold() == asked.casefold()]
        if len(same) != 1:
            raise ValueError(
                f"{people.path}: nobody is in group {asked!r}; a contrast needs two of its groups "
                f"({', '.join(there)[:200]})"
            )
        found.append(same[0])
    return found[0], found[1]


def _check_sizes(sample: Sample) -> None:
    sizes = (sum(sample.first), len(sample.first) - sum(sample.first))
    for group, size in zip(sample.groups, sizes, strict=True):
        if size < 2:
            why = sample.left_out[0] if sample.left_out else None
            more = f" ({why.participant_id} is left out: {why.reason})" if why else ""
            raise ValueError(f"group {group} has {size} maps; a comparison needs two per group{more}")


def _networks(maps: Sequence[MapFile]) -> tuple[Covariate, ...]:
    """Return the network of each map as a covariate; nothing if all maps are of one network."""
    weights = [weights_of(one) for one in maps]
    if None in weights:
        raise ValueError(
            "--several-networks: some maps have no sidecar that names their network; explain again"
        )
    cells = tuple(str(one)[:12] for one in weights)
    return (Covariate("network", cells, True),) if len(set(cells)) > 1 else ()


def _covariates(people: People, maps: Sequence[MapFile]) -> tuple[Covariate, ...]:
    found = []
    for name, cells in people.covariates.items():
        missing = [one.subject for one in maps if not cells[one.label]]
        if missing:
            raise ValueError(
                f"{people.path}: {len(missing)} of {len(maps)} subjects have no {name} "
                f"({', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}); leave them out of MAPS, "
                f"or {name} out of --covariates"
            )
        told = tuple(cells[one.label] for one in maps)
        found.append(Covariate(name, told, name in people.categories))
    return tuple(found)
