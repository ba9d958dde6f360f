"""Groups and covariates of subjects, from a table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyadx.data.cohort.bids_tables import GROUP_COLUMNS
from pyadx.data.cohort.tables import Row, Table, needed_cell, read_table
from pyadx.data.group_maps import subject_label

MISSING = ("", "n/a", "na", "nan", "none")
_CATEGORY = ":category"


@dataclass(frozen=True)
class People:
    """Subjects of a table, by `subject_label`.

    Attributes
    ----------
    path : Path
        The table.
    groups : dict
        Group by subject; empty if the table's cell is empty.
    covariates : dict
        Cells of all subjects by covariate.
    categories : frozenset
        Covariates whose cells are category names, even if they look like numbers.
    """

    path: Path
    groups: dict[str, str]
    covariates: dict[str, dict[str, str]]
    categories: frozenset[str]


def read_people(path: Path, group_column: str | None = None, covariates: Sequence[str] = ()) -> People:
    """Read groups and covariates.

    Parameters
    ----------
    path : Path
        ``participants.tsv`` of BIDS, or another TSV or CSV with ``participant_id`` (or ``subject``).
    group_column : str, optional
        By default the first of ``group``, ``diagnosis``, ``dx``, ``label`` and ``research_group``.
    covariates : sequence of str
        Columns. ``site:category`` means that the column's numbers are category names. ``Levels`` in the
        JSON beside the table means the same.

    Raises
    ------
    ValueError
        If a column is missing, or a subject is listed twice.
    """
    table = read_table(path)
    who = table.needed("participant_id", "subject", "subject_id")
    group = table.needed(*([group_column] if group_column else GROUP_COLUMNS))
    if len(set(covariates)) != len(covariates):
        raise ValueError(f"--covariates names a column twice: {','.join(covariates)}")
    names = [covariate.removesuffix(_CATEGORY) for covariate in covariates]
    columns = {name: table.needed(name) for name in names}
    rows = _rows(table, who, group)
    named = {name for name, asked in zip(names, covariates, strict=True) if asked.endswith(_CATEGORY)}
    return People(
        path,
        {label: _told(row[group]) for label, row in rows.items()},
        {name: {label: _told(row[at]) for label, row in rows.items()} for name, at in columns.items()},
        frozenset(named | _with_levels(path, names)),
    )


def _rows(table: Table, who: int, group: int) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for row in table.rows:
        name = needed_cell(row, who, table.columns[who])
        label = subject_label(name)
        other = rows.setdefault(label, row)
        if other is row:
            continue
        if row[group] != other[group]:
            raise ValueError(
                f"{row.place}: {name} is in two groups, {other[group]} (line {other.line}) and "
                f"{row[group]}; a subject belongs to one"
            )
        raise ValueError(f"{row.place}: {name} is listed twice, first in line {other.line}")
    return rows


def _told(cell: str) -> str:
    return "" if cell.casefold() in MISSING else cell


def _with_levels(path: Path, names: Sequence[str]) -> set[str]:
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return {name for name in names if "Levels" in facts.get(name, {})}
    except (OSError, ValueError, TypeError, AttributeError):
        return set()


def parse_contrast(text: str) -> tuple[str, str]:
    """Return the two groups of a contrast such as ``AD - NC``.

    Raises
    ------
    ValueError
        If it is not of this form.
    """
    # Names of groups may contain a hyphen, so " - " with blanks is tried first.
    parts = text.split(" - ") if " - " in text else text.split("-")
    names = [part.strip() for part in parts]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise ValueError(f'--contrast must name two groups, such as "AD - NC", got {text!r}')
    return names[0], names[1]
