"""Cohorts downloaded from ADNI's image archive (LONI): a table, and folders of images."""

import re
from collections.abc import Sequence
from pathlib import Path

from pyadx.data.cohort.dates import adni_date
from pyadx.data.cohort.reading import CohortReading
from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord
from pyadx.data.cohort.selection import select
from pyadx.data.cohort.tables import Row, needed_cell, read_table, warn
from pyadx.data.file_kinds import scan_suffix

SERIES = "Spatially Normalized, Masked and N3 corrected T1 image"
ID_COLUMN = "Image Data ID"


def read_adni(table: Path, class_names: Sequence[str] | None, reading: CohortReading) -> Cohort:
    """Read an ADNI download.

    Parameters
    ----------
    table : Path
        The archive's CSV: Image Data ID, Subject, Group, Description, Acq Date and others.
    class_names : sequence of str, optional
        The classes to read. ADNI's ``CN`` is called ``NC`` here. By default scans of all groups.
    reading : CohortReading
        ``images``: folder that holds ``<Subject>/<Description>/<datetime>/<I...>/*.nii``, at any depth; by
        default the table's folder. ``group_column``: column with the group; by default Group.

    Returns
    -------
    Cohort
        The earliest scan of each subject (or all) among the series "spatially normalized, masked and N3
        corrected" (paper section 3.1).

    Raises
    ------
    ValueError
        If a column is missing, a date is unreadable, or a class has no scans.
    """
    found = read_table(table)
    identity, subject, description, acquired = (
        found.needed(name) for name in (ID_COLUMN, "Subject", "Description", "Acq Date")
    )
    named = reading.group_column or "Group"
    needed = class_names is not None or reading.group_column is not None
    group = found.needed(named) if needed else found.optional(named)
    files = _files_by_id(table.parent if reading.images is None else Path(reading.images))
    candidates, excluded = [], []
    for row in found.rows:
        image = _normal_id(needed_cell(row, identity, ID_COLUMN))
        who = needed_cell(row, subject, "Subject")
        if _plain(SERIES) not in _plain(row[description]):
            excluded.append(Exclusion(who, image, "another series"))
        elif image not in files:
            excluded.append(Exclusion(who, image, "no image file"))
        else:
            # File names must distinguish a subject's scans only if a subject may have several.
            entities = f"acq-{image}" if reading.sessions == "all" else ""
            date = _iso_date(row, acquired)
            candidates.append(ScanRecord(files[image], who, row[group], image, date, entities=entities))
    return select(table, class_names, candidates, excluded, reading)


def _files_by_id(folder: Path) -> dict[str, Path]:
    """Return the image file of every id: a file with that name, else a file in a folder with that name."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of images")
    named: dict[str, Path] = {}
    beside: dict[str, Path] = {}
    several: dict[str, tuple[Path, Path]] = {}
    for file in sorted(folder.rglob("*")):
        # Files whose names begin with a dot are not images: macOS writes them beside every real file.
        suffix = scan_suffix(file)
        if not suffix or file.name.startswith(".") or not file.is_file():
            continue
        own = re.search(r"_(I\d+)\.[^_]*$", file.name, re.IGNORECASE)
        identity = own[1].upper() if own else file.parent.name
        if not re.fullmatch(r"I\d+", identity):
            continue
        first = (named if own else beside).setdefault(identity, file)
        if own and first.name[: -len(scan_suffix(first))] != file.name[: -len(suffix)]:
            several.setdefault(identity, (first, file))
    if several:
        one, other = next(iter(several.values()))
        warn(f"{len(several)} image ids have several files; the first is used: {one}, not {other}")
    return beside | named


def _normal_id(text: str) -> str:
    return f"I{text}" if text.isdecimal() else text


def _plain(text: str) -> str:
    """Return letters and digits only, because folder names and the table differ in punctuation."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _iso_date(row: Row, acquired: int) -> str:
    found = adni_date(row[acquired])
    if found is None:
        raise ValueError(f"{row.place}: Acq Date {row[acquired]!r} is not a date such as 10/27/2006")
    return found
