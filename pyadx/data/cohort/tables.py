"""Reading comma- and tab-separated tables, with every defect told in one line."""

import csv
from collections.abc import Sequence
from pathlib import Path

_MAX_BYTES = 256 << 20


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read a table with a header line.

    Parameters
    ----------
    path : Path
        ``.csv``, or ``.tsv``; UTF-8, with or without a byte order mark.

    Returns
    -------
    columns : list of str
    rows : list of dict
        Column to text, stripped, line breaks as spaces; missing cells are empty.

    Raises
    ------
    ValueError
        If the file is missing, too large, no text, or has no rows.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such table")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: larger than {_MAX_BYTES >> 20} MiB, which no cohort table is")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            columns = [_one_line(name) for name in reader.fieldnames or ()]
            rows = [
                {
                    _one_line(key or ""): _one_line(value)
                    for key, value in row.items()
                    if isinstance(value, str)
                }
                for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a table ({error})") from None
    if not columns or not rows:
        raise ValueError(f"{path}: the table has no rows")
    return columns, rows


def _one_line(cell: str) -> str:
    return " ".join(cell.splitlines()).strip()


def needed_column(path: Path, columns: Sequence[str], *names: str) -> str:
    """Return the column that goes by one of ``names``, compared without case.

    Raises
    ------
    ValueError
        If it is not there; the message lists the columns that are.
    """
    found = optional_column(columns, *names)
    if found is None:
        raise ValueError(
            f"{path}: has no column {' or '.join(names)}; its columns are {', '.join(columns)}"
        )
    return found


def optional_column(columns: Sequence[str], *names: str) -> str | None:
    """Return the column that goes by one of ``names``, compared without case, or ``None``."""
    folded = {column.casefold(): column for column in columns}
    return next((folded[name.casefold()] for name in names if name.casefold() in folded), None)
