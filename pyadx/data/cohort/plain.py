"""Cohorts as a plain table: path, subject, label and, if known, date."""

import re
from collections.abc import Sequence
from os.path import isfile
from pathlib import Path

from pyadx.data.cohort.dates import Moment
from pyadx.data.cohort.reading import CohortReading
from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord
from pyadx.data.cohort.selection import select
from pyadx.data.cohort.tables import Row, needed_cell, read_table


def read_plain(table: Path, class_names: Sequence[str] | None, reading: CohortReading) -> Cohort:
    """Read a table of scans.

    Parameters
    ----------
    table : Path
        ``.csv`` or ``.tsv`` with the columns ``path``, ``subject``, ``label`` and perhaps ``date`` (ISO,
        with or without a time). Relative paths start at the table's folder and stay in it.
    class_names : sequence of str, optional
        The classes to take; without them the scans of every group, and ``label`` may be missing.
    reading : CohortReading
        ``group_column``: another column than ``label``.

    Raises
    ------
    ValueError
        If a column is missing, a row incomplete, a date no date, or a relative path leaves the folder.
    """
    found = read_table(table)
    path, subject = found.needed("path"), found.needed("subject")
    named = reading.group_column or "label"
    needed = class_names is not None or reading.group_column is not None
    label = found.needed(named) if needed else found.optional(named)
    when = found.optional("date")
    base = table.parent.resolve()
    candidates, excluded = [], []
    for row in found.rows:
        text, who = needed_cell(row, path, "path"), needed_cell(row, subject, "subject")
        group = (
            needed_cell(row, label, named) if class_names is not None and label is not None else row[label]
        )
        file = _file(row, text, base)
        if not isfile(file):  # pathlib's would raise at a name too long for the file system
            excluded.append(Exclusion(who, text, "no image file"))
            continue
        date = Moment(row[when], f"{row.place}: date").iso()
        # Only where a subject may have several scans do names of files have to tell them apart.
        name = re.sub(r"[^A-Za-z0-9]", "", file.name.split(".")[0]) if reading.sessions == "all" else ""
        candidates.append(ScanRecord(file, who, group, text, date, entities=name and f"acq-{name}"))
    return select(table, class_names, candidates, excluded, reading)


def _file(row: Row, text: str, base: Path) -> Path:
    file = Path(text)
    if file.is_absolute():
        return file
    file = base / file
    if not file.resolve().is_relative_to(base):
        raise ValueError(
            f"{row.place}: {text} leads out of the table's folder; write an absolute path if that is meant"
        )
    return file
