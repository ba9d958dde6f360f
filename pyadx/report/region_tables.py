"""Regions of a report as a TSV file, with unrounded numbers and names that are safe in spreadsheets."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyadx.files import check_output_file, replacing
from pyadx.report.region_reports import RegionReport, region_report

COLUMNS = ("name", "label", "value", "standard_error", "alone", "first", "voxels")
# Spreadsheets take cells that start with these for formulas; East Asian versions also the full-width forms.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def region_tsv(report: RegionReport) -> str:
    """Return the regions as the text of a TSV file, in the order of the report; unknown values are ``n/a``.

    White space and control characters in a name become single spaces. A name that a spreadsheet would take
    for a formula gets a leading apostrophe.
    """
    rows = [
        [plain_cell(r.name), r.label, r.value, r.error, r.alone, r.first, r.voxels] for r in report.regions
    ]
    return tsv_text(COLUMNS, rows)


def tsv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the text of a TSV file with a header line; ``None`` becomes ``n/a``."""
    text = [["n/a" if value is None else str(value) for value in row] for row in rows]
    return "".join("\t".join(row) + "\n" for row in (columns, *text))


def check_region_table(path: Path, *, overwrite: bool) -> None:
    """Raise ``ValueError`` unless the path ends in .tsv and can be written."""
    if path.suffix.lower() != ".tsv":
        raise ValueError(f"{path}: a table is written as .tsv")
    check_output_file(path, overwrite=overwrite)


def save_region_table(path: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """Write the regions of a report as TSV.

    Parameters
    ----------
    path : path
        Output file. It appears complete or not at all.
    report : mapping
        The ``report`` entry of a sidecar, or what ``facts()`` of a `ShapleyReport` or `FlipReport` returns.
        A report without regions, such as a `FlipReport` that selects none, gives a header line only.
    """
    known = region_report(report) or RegionReport((), shared=False)
    with replacing(Path(path)) as (partial,):
        partial.write_text(region_tsv(known), encoding="utf-8", errors="replace", newline="\n")


def plain_cell(name: str) -> str:
    """Return a name as one TSV cell that no spreadsheet takes for a formula."""
    plain = re.sub(r"[\s\x00-\x1f\x7f]+", " ", name).strip()
    return f"'{plain}" if plain.startswith(_FORMULA) else plain
