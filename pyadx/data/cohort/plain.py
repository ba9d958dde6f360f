"""Cohorts as a plain table: path, subject, label and, if known, date."""

from collections.abc import Sequence
from datetime import date
from os.path import isfile
from pathlib import Path

from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord, select
from pyadx.data.cohort.tables import needed_column, optional_column, read_table


def read_plain(table: Path, class_names: Sequence[str]) -> Cohort:
    """Read a table of scans.

    Parameters
    ----------
    table : Path
        ``.csv`` or ``.tsv`` with the columns ``path``, ``subject``, ``label`` and perhaps ``date`` (ISO).
        Relative paths start at the table's folder and stay in it.
    class_names : sequence of str
        The classes to take.

    Raises
    ------
    ValueError
        If a column is missing, a row incomplete, a date no date, or a relative path leaves the folder.
    """
    columns, rows = read_table(table)
    path, subject, label = (needed_column(table, columns, n) for n in ("path", "subject", "label"))
    when = optional_column(columns, "date")
    base = table.parent.resolve()
    candidates, excluded = [], []
    for number, row in enumerate(rows, start=2):
        for column in (path, subject, label):
            if not row.get(column):
                raise ValueError(f"{table}: line {number} has no {column}")
        file = Path(row[path])
        if not file.is_absolute():
            file = base / file
            if not file.resolve().is_relative_to(base):
                raise ValueError(
                    f"{table}: line {number}: {row[path]} leads out of the table's folder; "
                    "write an absolute path if that is meant"
                )
        if not isfile(file):  # pathlib's would raise at a name too long for the file system
            excluded.append(Exclusion(row[subject], row[path], "no image file"))
            continue
        candidates.append(
            ScanRecord(
                file, row[subject], row[label], row[path], _date(table, number, row.get(when or "", ""))
            )
        )
    return select(table, class_names, candidates, excluded)


def _date(table: Path, number: int, text: str) -> str:
    if not text:
        return ""
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise ValueError(f"{table}: line {number}: {text!r} is not a date such as 2006-10-27") from None
