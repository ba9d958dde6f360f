"""Cohorts as BIDS data sets: participants.tsv and ``sub-*/[ses-*/]anat/*_T1w`` files."""

from collections.abc import Sequence
from pathlib import Path

from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord, select
from pyadx.data.cohort.tables import needed_column, optional_column, read_table

_GROUP_COLUMNS = ("group", "diagnosis", "dx", "label", "research_group")
_ENDINGS = ("_T1w.nii.gz", "_T1w.nii", "_T1w.mgz")


def read_bids(
    folder: Path,
    class_names: Sequence[str],
    group_column: str | None = None,
    derivative: str | None = None,
) -> Cohort:
    """Read a BIDS data set.

    Parameters
    ----------
    folder : Path
        Holds ``participants.tsv`` and ``sub-*`` folders.
    class_names : sequence of str
        The classes to take.
    group_column : str, optional
        Column of ``participants.tsv`` with the diagnosis; by default ``group``, ``diagnosis``, ``dx``,
        ``label`` or ``research_group``.
    derivative : str, optional
        Take the T1w scans from ``derivatives/<derivative>`` (for example preprocessed ones).

    Returns
    -------
    Cohort
        The earliest session of each subject: by ``acq_time`` of ``*_sessions.tsv`` or ``*_scans.tsv`` where
        there is one, by the session's name otherwise.

    Raises
    ------
    ValueError
        If a table or column is missing, a participant is listed twice, or a class has no scans.
    """
    table = folder / "participants.tsv"
    columns, rows = read_table(table)
    who = needed_column(table, columns, "participant_id")
    group = needed_column(table, columns, *([group_column] if group_column else _GROUP_COLUMNS))
    images = folder if derivative is None else folder / "derivatives" / derivative
    if not images.is_dir():
        raise ValueError(f"{images}: no such folder")
    labels: dict[str, str] = {}
    for row in rows:
        name = row.get(who, "")
        name = name if name.startswith("sub-") else f"sub-{name}"
        if name in labels:
            raise ValueError(f"{table}: {name} stands there twice")
        labels[name] = row.get(group, "")
    # Only folders that were listed are opened: an id of the table may be no name of a folder at all.
    folders = {p.name for p in images.glob("sub-*") if p.is_dir()}
    candidates, excluded = [], []
    for name, label in labels.items():
        found = _scans_of(images / name, label) if name in folders else []
        if not found:
            excluded.append(Exclusion(name, "", "no T1w scan"))
        candidates.extend(found)
    for extra in sorted(folders - set(labels)):
        excluded.append(Exclusion(extra, "", "not in participants.tsv"))
    return select(folder, class_names, candidates, excluded)


def _scans_of(root: Path, label: str) -> list[ScanRecord]:
    """Return the T1w scans in the folder of a subject."""
    name = root.name
    dates = _dates(root, name)
    found = []
    for anat in (root / "anat", *sorted(root.glob("ses-*/anat"))):
        session = "" if anat.parent == root else anat.parent.name
        for file in sorted(anat.glob(f"{name}_*")):
            if not file.name.endswith(_ENDINGS):
                continue
            inside = str(file.relative_to(root))
            # A session without a date sorts by its name, after those with one.
            date = dates.get(inside) or dates.get(session) or session
            found.append(ScanRecord(file, name, label, str(file.relative_to(root.parent)), date))
    return found


def _dates(root: Path, name: str) -> dict[str, str]:
    """Return acquisition times by session, and by file within the subject's folder."""
    dates = {}
    sessions = root / f"{name}_sessions.tsv"
    tables = [(sessions, "session_id", root)] if sessions.is_file() else []
    tables += [(t, "filename", t.parent) for t in sorted(root.rglob("*_scans.tsv"))]
    for table, key, base in tables:
        columns, rows = read_table(table)
        what = needed_column(table, columns, key)
        when = optional_column(columns, "acq_time")
        if when is None:
            continue
        for row in rows:
            if row.get(when, "n/a") in ("", "n/a"):
                continue
            entry = row.get(what, "")
            if key == "filename":
                entry = str((base / entry).relative_to(root))
            dates[entry] = row[when]
    return dates
