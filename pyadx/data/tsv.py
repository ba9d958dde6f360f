"""Tab-separated tables in the form of BIDS, each with a data dictionary beside it."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_tsv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with these columns, without quoting; ``None`` becomes ``n/a``.

    Raises
    ------
    ValueError
        If a row lacks a column, or a cell holds a tab or a line break.
    """
    names = list(columns)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(
            file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
        )
        table.writerow(names)
        for row in rows:
            missing = [name for name in names if name not in row]
            if missing:
                raise ValueError(f"{path.name}: a row has no {missing[0]}")
            try:
                table.writerow(["n/a" if row[name] is None else row[name] for name in names])
            except csv.Error:
                raise ValueError(f"{path.name}: a cell holds a tab or a line break") from None


def write_dictionary(path: Path, columns: Mapping[str, str], more: Mapping[str, Any]) -> None:
    """Write the meaning of columns in the form of BIDS, and further facts."""
    facts: dict[str, Any] = {name: {"Description": words} for name, words in columns.items()}
    path.write_text(json.dumps({**facts, **more}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
