"""Heatmaps as a BIDS derivative data set: ``derivatives/pyadx``."""

import json
import os
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pyadx.data.cohort.records import ScanRecord
from pyadx.files import holds_results, replacing

_LONGEST_NAME = 200  # file systems allow 255 bytes; the name of a temporary file beside it is longer
# Order of entities in BIDS 1.11. "contrast" and "stat" are not in BIDS yet; their places are those of
# FitLins and XCP-D. Other unknown entities come before those of derivatives.
_ORDER = (
    "sub", "ses", "cohort", "sample", "task", "tracksys", "acq", "ce", "trc", "stain", "rec", "dir", "run",
    "mod", "echo", "flip", "inv", "mt", "part", "proc", "", "hemi", "space", "split", "recording", "chunk",
    "atlas", "seg", "scale", "res", "den", "label", "contrast", "stat", "desc",
)  # fmt: skip
# Files for which BIDS has no names, so that its validator ignores them: heatmaps, statistical maps (with
# the suffix of nilearn and FitLins), and files beside them.
_NOT_OF_BIDS = "*_heatmap.*\n*_statmap.*\n*.scores\nmanifest.jsonl\nexcluded.csv\n"
_SOURCE = "raw"  # name of the source data set in BIDS URIs


def derivative_file(
    root: str | os.PathLike[str], subject: str, description: str, entities: str = ""
) -> Path:
    """Return the path of a heatmap: ``sub-01/ses-1/anat/sub-01_ses-1_run-2_desc-gradcam_heatmap.nii.gz``.

    Parameters
    ----------
    root : Path
        The derivative data set.
    subject : str
        Any id. A missing ``sub-`` is added, and characters that BIDS does not allow in a label are
        removed.
    description : str
        Description of the heatmap, also reduced to letters and digits.
    entities : str
        Entities that distinguish the scan from others of its subject, such as ``ses-1_run-2``. A session
        also becomes a folder.

    Raises
    ------
    ValueError
        If nothing remains of the subject or the description.
    """
    label, desc = (
        re.sub(r"[^A-Za-z0-9]", "", text) for text in (subject.removeprefix("sub-"), description)
    )
    if not label or not desc:
        raise ValueError(f"subject {subject!r} and description {description!r} need letters or digits")
    parts = in_bids_order([f"sub-{label}", *filter(None, entities.split("_")), f"desc-{desc}"])
    sessions = [part for part in parts if part.startswith("ses-")]
    name = "_".join([*parts, "heatmap.nii.gz"])
    return Path(root).joinpath(f"sub-{label}", *sessions, "anat", name)


def in_bids_order(parts: Iterable[str]) -> list[str]:
    """Sort entities such as ``res-2`` as BIDS orders them in names."""

    def place(part: str) -> int:
        key = part.partition("-")[0]
        return _ORDER.index(key if key in _ORDER else "")

    return sorted(parts, key=place)


def entities_on_grid(entities: str, spacing: float | None) -> str:
    """Return the entities of a scan's map on the grid of a network.

    Parameters
    ----------
    entities : str
        Entities of the scan. The grid is in the scan's space, which is called ``network`` if the file
        name does not name it.
    spacing : float, optional
        Voxel size of the grid, mm; by default the scan's voxel size.
    """
    found = dict(part.split("-", 1) for part in entities.split("_") if "-" in part)
    found.setdefault("space", "network")
    if spacing is not None:
        found["res"] = f"{spacing:g}mm".replace(".", "p")
    return "_".join(in_bids_order(f"{key}-{value}" for key, value in found.items()))


def bids_uri(record: ScanRecord) -> str:
    """Return the BIDS URI of a scan for a derivative data set; empty if the source is not BIDS."""
    return f"bids:{_SOURCE}:{quote(record.bids_path)}" if record.bids_path else ""


def check_scans(root: str | os.PathLike[str], scans: Iterable[ScanRecord], description: str) -> None:
    """Check that every scan gets a different file.

    Parameters
    ----------
    root : Path
        The derivative data set.
    scans : iterable of ScanRecord
        Scans of a cohort.
    description : str
        Description of the heatmaps.

    Raises
    ------
    ValueError
        If two ids differ only in characters that BIDS does not allow in a label, two scans of a subject
        would share a file, or an id is too long for a file name.
    """
    owners: dict[Path, ScanRecord] = {}
    for scan in scans:
        path = derivative_file(root, scan.subject, description, scan.entities)
        if len(path.name) > _LONGEST_NAME:
            raise ValueError(f"subject {scan.subject[:40]}...: the id is too long for a file name")
        other = owners.setdefault(path, scan)
        if other is scan:
            continue
        if other.subject != scan.subject:
            raise ValueError(
                f"subjects {other.subject!r} and {scan.subject!r} would get the same BIDS label "
                f"{path.relative_to(root).parts[0]!r}; rename one of them"
            )
        raise ValueError(
            f"{other.path} and {scan.path}: both heatmaps would be {path.name}; rename one of the scans, "
            "or explain one scan per subject (--sessions earliest)"
        )


def start_derivatives(root: str | os.PathLike[str], source: str | os.PathLike[str] | None = None) -> None:
    """Make a data set's folder with ``dataset_description.json`` and ``.bidsignore`` if it is missing.

    Parameters
    ----------
    root : Path
        Folder, such as ``derivatives/pyadx``.
    source : Path, optional
        The data set that the scans come from.

    Raises
    ------
    ValueError
        If the folder holds something else.
    """
    root = Path(root)
    note = root / "dataset_description.json"
    if root.exists() and holds_results(root, note.name, "derivatives of pyadx"):
        try:
            generators = json.loads(note.read_text(encoding="utf-8"))["GeneratedBy"]
            if any(one["Name"] == "pyadx" for one in generators):
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise ValueError(f"{root}: holds another data set, not derivatives of pyadx; choose another folder")
    root.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {
        "Name": "Heatmaps of 3D CNNs",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "pyadx", "Version": version("pyadx")}],
    }
    if source is not None:
        # Only the folder's name, because its parents may contain names of people, projects or machines.
        named = f"file:///{quote(Path(source).resolve().name)}"
        facts["SourceDatasets"] = [{"URL": named}]
        facts["DatasetLinks"] = {_SOURCE: _link(root, Path(source)) or named}
    with replacing(note, root / ".bidsignore") as (partial_note, partial_ignore):
        partial_note.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        partial_ignore.write_text(_NOT_OF_BIDS, encoding="utf-8")


def _link(root: Path, source: Path) -> str:
    """Return the relative path to a source that holds the folder or is beside it; empty for others."""
    way = Path(os.path.relpath(source.resolve(), root.resolve()))
    return quote(way.as_posix()) if set(way.parts[:-1]) <= {os.pardir} else ""
