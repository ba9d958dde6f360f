"""Heatmaps of many subjects: whose they are, in which space, and whether they are of one kind."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyadx.data.file_kinds import scan_suffix
from pyadx.data.heatmaps import sidecar_path

HEATMAP = "_heatmap"


@dataclass(frozen=True)
class MapFile:
    """A heatmap and what is known of it without its voxels.

    Attributes
    ----------
    path : Path
        The file.
    subject : str
        As tables call it, with ``sub-``.
    entities : dict
        Of its name: ``{"ses": "M00", "space": "MNI152NLin2009cAsym", "desc": "gradcam"}``.
    facts : dict or None
        Its sidecar; ``None`` without one.
    transform : Path, optional
        What brings it to the common space.
    moved : mapping, optional
        Where it is brought, and once it is there, from which map and by which transform.
    """

    path: Path
    subject: str
    entities: Mapping[str, str]
    facts: Mapping[str, Any] | None
    transform: Path | None = None
    moved: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """The subject, reduced to what names of files can hold: by this it is found in tables."""
        return subject_label(self.subject)

    @property
    def space(self) -> str:
        """Space and resolution of its name, such as ``MNI152NLin2009cAsym_res-2``; empty without."""
        resolution = self.entities.get("res")
        parts = [self.entities.get("space", ""), f"res-{resolution}" if resolution else ""]
        return "_".join(part for part in parts if part)


def subject_label(subject: str) -> str:
    """Return ``sub-`` and the letters and digits of an id, as derivatives name their files."""
    return "sub-" + re.sub(r"[^A-Za-z0-9]", "", subject.removeprefix("sub-"))


def map_file(path: Path, subject: str | None = None) -> MapFile:
    """Read a heatmap's name and sidecar.

    Parameters
    ----------
    path : Path
        The heatmap.
    subject : str, optional
        Whose it is; by default what the name says (``sub-``), else the name of the scan in the sidecar.

    Raises
    ------
    ValueError
        If neither says whose it is, or the sidecar cannot be read.
    """
    facts = _sidecar(path)
    entities = entities_of(path)
    scan = str((facts or {}).get("scan", {}).get("file", ""))
    label = subject or entities.get("sub") or entities_of(Path(scan)).get("sub")
    if not label:
        raise ValueError(
            f"{path}: neither its name nor its sidecar has sub-LABEL, so nobody knows whose it is"
        )
    if "ses" not in entities and "ses" in entities_of(Path(scan)):
        entities["ses"] = entities_of(Path(scan))["ses"]
    return MapFile(path, label if label.startswith("sub-") else f"sub-{label}", entities, facts)


def entities_of(path: Path) -> dict[str, str]:
    """Return the ``key-value`` parts of a file's name."""
    stem = path.name[: -len(scan_suffix(path) or path.suffix or " ")]
    found: dict[str, str] = {}
    for part in stem.split("_"):
        key, dash, value = part.partition("-")
        if dash and key.isalnum() and value:
            found.setdefault(key, value)
    return found


def maps_below(folder: Path) -> list[Path]:
    """Return the heatmaps below a folder: ``*_heatmap.nii.gz``, else all that name a subject.

    Raises
    ------
    ValueError
        If there is none.
    """
    files = [path for path in sorted(folder.rglob("*")) if scan_suffix(path) and path.is_file()]
    files = [path for path in files if not path.name.startswith(".")]
    named = [path for path in files if path.name[: -len(scan_suffix(path))].endswith(HEATMAP)]
    found = named or [path for path in files if "sub" in entities_of(path)]
    if not found:
        raise ValueError(f"{folder}: holds no heatmaps (sub-*_heatmap.nii.gz)")
    return found


def check_one_kind(maps: Sequence[MapFile], *, several_networks: bool = False) -> None:
    """Check that maps are of one network, method, target and space, and one per subject.

    Parameters
    ----------
    maps : sequence of MapFile
        At least one.
    several_networks : bool
        Let networks differ.

    Raises
    ------
    ValueError
        If they are not: the message names two of them, and how to choose.
    """
    first = maps[0]
    for other in maps[1:]:
        for what, one, two in zip(_KINDS, kind_of(first), kind_of(other), strict=True):
            if one != two and not (several_networks and what == _NETWORKS):
                how = ", or --several-networks" if what == _NETWORKS else ", or use --desc"
                raise ValueError(
                    f"{first.path.name} and {other.path.name} are maps of {what}, {_shown(one)} and "
                    f"{_shown(two)}; a group needs maps of one kind: give those alone{how}"
                )
        if first.space != other.space:
            raise ValueError(
                f"{first.path.name} and {other.path.name} are in different spaces, "
                f"{first.space or 'none named'} and {other.space or 'none named'}; explain scans in one "
                "space (pyadx explain-cohort --space), or, if each is in its scan's own, bring them to one "
                "with --transforms and --reference"
            )
    owners: dict[str, MapFile] = {}
    for one in maps:
        other = owners.setdefault(one.label, one)
        if other is not one:
            sessions = sorted({two.entities.get("ses", "") for two in (one, other)})
            how = (
                f"choose one session, such as --session {sessions[0] or sessions[-1]}"
                if len(sessions) == 2
                else "give one of them, or choose with --desc"
            )
            raise ValueError(
                f"{one.subject} has several maps, {other.path.name} and {one.path.name}; subjects count "
                f"once: {how}"
            )


_NETWORKS = "different networks"
_KINDS = (_NETWORKS, "different methods", "different targets", "scans with and without sidecar")


def weights_of(one: MapFile) -> str | None:
    """Return the hash of the network's weights, where the sidecar tells it."""
    model = (one.facts or {}).get("model")
    weights = model.get("weights_sha256", model.get("sha256")) if isinstance(model, dict) else None
    return None if weights is None else str(weights)


def kind_of(one: MapFile) -> tuple[Any, Any, Any, bool]:
    """Return weights, method and class of a map, as far as its sidecar tells, and whether it has one."""
    facts = one.facts or {}
    target = facts.get("target")
    weights = weights_of(one)
    name = target.get("name", target.get("index")) if isinstance(target, dict) else target
    return weights, facts.get("spelling", facts.get("method")), name, one.facts is not None


def _shown(value: Any) -> str:
    text = "none named" if value is None else {True: "with", False: "without"}.get(value, str(value))
    return text if len(text) <= 60 else f"{text[:16]}..."


def _sidecar(path: Path) -> dict[str, Any] | None:
    note = sidecar_path(path)
    if not note.is_file():
        return None
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{note}: cannot be read as JSON ({' '.join(str(error).split())[:100]})") from None
    # Other programs write JSON beside images, too; ours names a method.
    return facts if isinstance(facts, dict) and "method" in facts else None
