"""Regions of a report as a TSV file: numbers in full, names as harmless cells."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyadx.files import check_output_file, replacing
from pyadx.report.region_reports import RegionReport, region_report

COLUMNS = ("name", "label", "value", "standard_error", "alone", "first", "voxels")
# Cells that a spreadsheet takes for a formula begin so; the wide forms count in East Asian versions.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def region_tsv(report: RegionReport) -> str:
    """Return a row for every region in the order of the report; what is not known is ``n/a``.

    A name keeps to its cell: blanks of any kind become single spaces, and one that a spreadsheet would
    compute gets an apostrophe in front.
    """
    rows = [
        [plain_cell(r.name), r.label, r.value, r.error, r.alone, r.first, r.voxels] for r in report.regions
    ]
    return tsv_text(COLUMNS, rows)


def tsv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows under a head; ``None`` is ``n/a``."""
    text = [["n/a" if value is None else str(value) for value in row] for row in rows]
    return "".join("\t".join(row) + "\n" for row in (columns, *text))


def check_region_table(path: Path, *, overwrite: bool) -> None:
    """Raise ``ValueError`` unless a table can be written to a path."""
    if path.suffix.lower() != ".tsv":
        raise ValueError(f"{path}: a table is written as .tsv")
    check_output_file(path, overwrite=overwrite)


def save_region_table(path: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """Write the regions of a report as TSV.

    Parameters
    ----------
    path : path
        Written beside it first and then renamed.
    report : mapping
        The entry ``report`` of a sidecar, or what ``facts()`` of a `ShapleyReport` or `FlipReport` gives.
        One without regions, as of a class that no region decides, gives the head of the table alone.
    """
    known = region_report(report) or RegionReport((), shared=False)
    with replacing(Path(path)) as (partial,):
        partial.write_text(region_tsv(known), encoding="utf-8", errors="replace", newline="\n")


def plain_cell(name: str) -> str:
    """Return a name that keeps to its cell, and that no spreadsheet takes for a formula."""
    plain = re.sub(r"[\s\x00-\x1f\x7f]+", " ", name).strip()
    return f"'{plain}" if plain.startswith(_FORMULA) else plain
