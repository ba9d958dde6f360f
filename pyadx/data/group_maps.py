"""Heatmaps of many subjects: subject and space of each, and a check that all are of one kind."""

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
    """A heatmap file, and the facts in its name and sidecar.

    Attributes
    ----------
    path : Path
        The file.
    subject : str
        Subject id in tables, with ``sub-``.
    entities : dict
        Entities of its name: ``{"ses": "M00", "space": "MNI152NLin2009cAsym", "desc": "gradcam"}``.
    facts : dict or None
        Its sidecar; ``None`` without one.
    transform : Path, optional
        File of the transform to the common space.
    moved : mapping, optional
        Target grid; after moving, also the original map and the transform.
    """

    path: Path
    subject: str
    entities: Mapping[str, str]
    facts: Mapping[str, Any] | None
    transform: Path | None = None
    moved: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """The subject id reduced to characters allowed in file names; used to find it in tables."""
        return subject_label(self.subject)

    @property
    def space(self) -> str:
        """Space and resolution in its name, such as ``MNI152NLin2009cAsym_res-2``, or empty."""
        resolution = self.entities.get("res")
        parts = [self.entities.get("space", ""), f"res-{resolution}" if resolution else ""]
        return "_".join(part for part in parts if part)


def subject_label(subject: str) -> str:
    """Return ``sub-`` and the letters and digits of an id, as in file names of derivatives."""
    return "sub-" + re.sub(r"[^A-Za-z0-9]", "", subject.removeprefix("sub-"))


def map_file(path: Path, subject: str | None = None) -> MapFile:
    """Read a heatmap's name and sidecar.

    Parameters
    ----------
    path : Path
        The heatmap.
    subject : str, optional
        Subject id; by default from the name (``sub-``), else from the name of the scan in the sidecar.

    Raises
    ------
    ValueError
        If neither name nor sidecar contains a subject, or the sidecar cannot be read.
    """
    facts = _sidecar(path)
    entities = entities_of(path)
    scan = str((facts or {}).get("scan", {}).get("file", ""))
    label = subject or entities.get("sub") or entities_of(Path(scan)).get("sub")
    if not label:
        raise ValueError(
            f"{path}: neither its name nor its sidecar has sub-LABEL, so its subject is unknown"
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
    """Return the heatmaps below a folder: ``*_heatmap.nii.gz``, else all files that name a subject.

    Raises
    ------
    ValueError
        If there are no heatmaps.
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
        Allow maps of different networks.

    Raises
    ------
    ValueError
        If they are not; the message names two maps that differ, and how to choose.
    """
    first = maps[0]
    for other in maps[1:]:
        for what, one, two in zip(_KINDS, kind_of(first), kind_of(other), strict=True):
            if one != two and not (several_networks and what == _NETWORKS):
                how = ", or --several-networks" if what == _NETWORKS else ", or use --desc"
                raise ValueError(
                    f"{first.path.name} and {other.path.name} are maps of {what}, {_shown(one)} and "
                    f"{_shown(two)}; a group needs maps of one kind: give only one kind{how}"
                )
        if first.space != other.space:
            raise ValueError(
                f"{first.path.name} and {other.path.name} are in different spaces, "
                f"{first.space or 'none named'} and {other.space or 'none named'}; explain scans in one "
                "space (pyadx explain-cohort --space), or, if each is in its scan's own space, move them "
                "to one space with --transforms and --reference"
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
    """Return the hash of the network's weights, if the sidecar has it."""
    model = (one.facts or {}).get("model")
    weights = model.get("weights_sha256", model.get("sha256")) if isinstance(model, dict) else None
    return None if weights is None else str(weights)


def kind_of(one: MapFile) -> tuple[Any, Any, Any, bool]:
    """Return weights, method and class in a map's sidecar, and whether the map has a sidecar."""
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
    # Other programs also write JSON beside images. A sidecar of pyadx names a method.
    return facts if isinstance(facts, dict) and "method" in facts else None
