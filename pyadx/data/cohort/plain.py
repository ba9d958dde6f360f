"""Cohorts described by a plain table: path, subject, label and, optionally, date."""

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
        ``.csv`` or ``.tsv`` with the columns ``path``, ``subject``, ``label`` and optionally ``date``
        (ISO, with or without a time). Relative paths start at the table's folder and must stay in it.
    class_names : sequence of str, optional
        The classes to read. By default scans of all groups; ``label`` may be missing then.
    reading : CohortReading
        ``group_column``: column with the group; by default ``label``.

    Raises
    ------
    ValueError
        If a column is missing, a row is incomplete, a date is invalid, or a relative path leaves the
        folder.
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
        if not isfile(file):  # pathlib's is_file raises if a name is too long for the file system
            excluded.append(Exclusion(who, text, "no image file"))
            continue
        date = Moment(row[when], f"{row.place}: date").iso()
        # File names must distinguish a subject's scans only if a subject may have several.
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
