"""Heatmaps as a BIDS derivative data set: ``derivatives/pyadx``."""

import json
import os
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from pyadx.data.cohort.records import ScanRecord
from pyadx.files import holds_results, replacing

_LONGEST_NAME = 200  # of the 255 bytes that file systems allow; a temporary name beside it is longer


def derivative_file(
    root: str | os.PathLike[str], subject: str, description: str, entities: str = ""
) -> Path:
    """Return where a heatmap stands: ``sub-01/ses-1/anat/sub-01_ses-1_run-2_desc-gradcam_heatmap.nii.gz``.

    Parameters
    ----------
    root : Path
        The derivative data set.
    subject : str
        Any id; ``sub-`` is put in front where it is missing, and what BIDS does not allow in a label
        falls out.
    description : str
        Of the heatmap; likewise reduced to letters and digits.
    entities : str
        What tells the scan from others of its subject, such as ``ses-1_run-2``; a session is a folder, too.

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
    parts = entities.split("_") if entities else []
    sessions = [part for part in parts if part.startswith("ses-")]
    name = "_".join([f"sub-{label}", *parts, f"desc-{desc}", "heatmap.nii.gz"])
    return Path(root).joinpath(f"sub-{label}", *sessions, "anat", name)


def check_scans(root: str | os.PathLike[str], scans: Iterable[ScanRecord], description: str) -> None:
    """Check that every scan has a file of its own.

    Parameters
    ----------
    root : Path
        The derivative data set.
    scans : iterable of ScanRecord
        Of a cohort.
    description : str
        Of the heatmaps.

    Raises
    ------
    ValueError
        If two ids differ only in what BIDS does not allow in a label, two scans of a subject would share a
        file, or an id is too long for a file.
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
                f"subjects {other.subject!r} and {scan.subject!r} come to the same BIDS label "
                f"{path.relative_to(root).parts[0]!r}; rename one of them"
            )
        raise ValueError(
            f"{other.path} and {scan.path}: both heatmaps would be {path.name}; rename one of the scans, "
            "or explain one scan per subject (--sessions earliest)"
        )


def start_derivatives(root: str | os.PathLike[str], source: str | os.PathLike[str] | None = None) -> None:
    """Make the data set's folder and its ``dataset_description.json``, unless they are there.

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
    facts = {
        "Name": "Heatmaps of 3D CNNs",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "pyadx", "Version": version("pyadx")}],
    }
    if source is not None:
        # Its name only: folders above it may name people, projects or machines.
        facts["SourceDatasets"] = [{"URL": f"file:///{quote(Path(source).resolve().name)}"}]
    with replacing(note) as (partial,):
        partial.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
