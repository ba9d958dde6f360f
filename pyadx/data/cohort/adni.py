"""Cohorts as ADNI's image archive (LONI) hands them out: a table, and folders of images."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord, select
from pyadx.data.cohort.tables import needed_column, read_table
from pyadx.data.file_kinds import scan_suffix

SERIES = "Spatially Normalized, Masked and N3 corrected T1 image"
ID_COLUMN = "Image Data ID"
_DATES = ("%m/%d/%Y", "%Y-%m-%d", "%m/%d/%y")


def read_adni(table: Path, class_names: Sequence[str], images: Path | None = None) -> Cohort:
    """Read an ADNI download.

    Parameters
    ----------
    table : Path
        The archive's CSV: Image Data ID, Subject, Group, Description, Acq Date and others.
    class_names : sequence of str
        The classes to take; ADNI's ``CN`` is ``NC`` here.
    images : Path, optional
        Folder that holds ``<Subject>/<Description>/<datetime>/<I...>/*.nii``, at any depth; the table's own
        folder by default.

    Returns
    -------
    Cohort
        The earliest scan of each subject among the series "spatially normalized, masked and N3 corrected"
        (paper section 3.1).

    Raises
    ------
    ValueError
        If a column is missing, a date is unreadable, or a class has no scans.
    """
    columns, rows = read_table(table)
    identity, subject, group, description, acquired = (
        needed_column(table, columns, name)
        for name in (ID_COLUMN, "Subject", "Group", "Description", "Acq Date")
    )
    files = _files_by_id(images or table.parent)
    candidates, excluded = [], []
    for number, row in enumerate(rows, start=2):
        image = _normal_id(row.get(identity, ""))
        who = row.get(subject, "")
        if not image or not who:
            raise ValueError(f"{table}: line {number} has no {ID_COLUMN if not image else 'Subject'}")
        if _plain(SERIES) not in _plain(row.get(description, "")):
            excluded.append(Exclusion(who, image, "another series"))
        elif image not in files:
            excluded.append(Exclusion(who, image, "no image file"))
        else:
            date = _iso_date(table, number, row.get(acquired, ""))
            candidates.append(ScanRecord(files[image], who, row.get(group, ""), image, date))
    return select(table, class_names, candidates, excluded)


def _files_by_id(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of images")
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if not scan_suffix(file) or not file.is_file():
            continue
        named = re.search(r"_(I\d+)\.[^_]*$", file.name)
        identity = named[1] if named else file.parent.name
        if re.fullmatch(r"I\d+", identity):
            found.setdefault(identity, file)
    return found


def _normal_id(text: str) -> str:
    return f"I{text}" if text.isdecimal() else text


def _plain(text: str) -> str:
    """Letters and digits only: the folder name and the table differ in punctuation."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _iso_date(table: Path, number: int, text: str) -> str:
    for pattern in _DATES:
        try:
            return datetime.strptime(text, pattern).date().isoformat()
        except ValueError:
            continue
    raise ValueError(f"{table}: line {number}: Acq Date {text!r} is not a date such as 10/27/2006")
