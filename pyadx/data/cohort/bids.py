"""Cohorts that are BIDS data sets: participants.tsv and ``sub-*/[ses-*/]anat/*_T1w`` files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyadx.data.cohort.bids_filters import ScanFilter
from pyadx.data.cohort.bids_names import T1wFile, t1w_files, t1w_stem
from pyadx.data.cohort.bids_spaces import choose_variants
from pyadx.data.cohort.bids_tables import (
    Participants,
    SubjectTables,
    group_names,
    read_participants,
    read_subject_tables,
)
from pyadx.data.cohort.reading import CohortReading
from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord
from pyadx.data.cohort.selection import select
from pyadx.data.cohort.tables import warn


def read_bids(
    folder: Path,
    class_names: Sequence[str] | None,
    reading: CohortReading,
    wanted: ScanFilter | None = None,
) -> Cohort:
    """Read a BIDS data set.

    Parameters
    ----------
    folder : Path
        Holds ``sub-*`` folders, and ``participants.tsv`` if that has the diagnoses.
    class_names : sequence of str, optional
        The classes to read; by default scans of all groups.
    reading : CohortReading
        ``group_column``: by default ``group``, ``diagnosis``, ``dx``, ``label`` or ``research_group``,
        looked up in ``participants.tsv`` or, if that has no such column, in ``sub-*_sessions.tsv`` (a
        diagnosis per session, as in Clinica). ``derivative``: scans are in ``derivatives/<derivative>``.
        ``space``: see `CohortReading`.
    wanted : ScanFilter, optional
        Subjects, sessions and entities to read. The rest of the data set is ignored.

    Returns
    -------
    Cohort
        The earliest scan of each subject, or all scans. The order is that of ``acq_time`` in
        ``*_scans.tsv`` or ``*_sessions.tsv`` (of the derivative and of the raw data). Without
        ``acq_time`` it is the natural order of session names.

    Raises
    ------
    ValueError
        If a table, column or date cannot be read, a participant is listed twice, scans are in several
        spaces and none was chosen, or a class has no scans.
    """
    images = folder if reading.derivative is None else folder / "derivatives" / reading.derivative
    people = read_participants(folder, reading.group_column)
    if not images.is_dir():
        raise ValueError(f"{images}: no such folder")
    # Only listed folders are opened, because an id in the table may not be a valid folder name.
    folders = _subject_folders(images)
    raw = folders if images == folder else _subject_folders(folder)
    names = list(people.labels) if people is not None else sorted(folders | raw)
    excluded = [Exclusion(n, "", "not in participants.tsv") for n in sorted(folders - set(names))]
    none = "no T1w scan"
    if wanted is not None:  # a BIDS-App selects folders, not rows of the table
        names, excluded, none = sorted({*names, *folders}), [], "no requested T1w scan"
    found = {name: t1w_files(images / name) for name in names if name in folders}
    if wanted is not None:
        names, found = wanted.choose(images, names, found)
    subjects, files = {}, {}
    for name in names:
        files[name] = found.get(name, [])
        if not files[name]:
            excluded.append(Exclusion(name, "", none))
        roots = [images / name] if name in folders else []
        roots += [folder / name] if images != folder and name in raw else []
        subjects[name] = Subject(name, [read_subject_tables(r, reading.group_column) for r in roots])
    _check_groups(folder, people, subjects, class_names, reading)
    if images == folder and wanted is None:
        excluded += _rows_without_file(subjects, files)
    chosen, others = choose_variants(images, files, reading)
    excluded += others
    candidates = _records(folder, images, people, subjects, chosen)
    return select(folder, class_names, candidates, excluded, reading)


@dataclass(frozen=True)
class Subject:
    """A subject's tables: first those beside the scans, then those of the raw data."""

    name: str
    tables: list[SubjectTables] = field(default_factory=list)

    def date(self, file: T1wFile, decides: bool, doubtful: list[str]) -> str:
        """Return the date of a scan; refuse an unreadable date if the date is needed."""
        for tables in self.tables:
            moment = tables.when(file, self.name)
            if moment is None:
                continue
            try:
                return moment.iso()
            except ValueError as error:
                if decides:
                    raise
                doubtful.append(str(error))
                return ""
        return ""

    def group(self, session: str) -> tuple[str, str]:
        """Return the diagnosis of a session, or the reason why it is missing."""
        having = [tables for tables in self.tables if tables.has_groups]
        for tables in having:
            if session in tables.sessions:
                return tables.sessions[session][1], ""
        if not having:
            return "", "no diagnosis: no sessions.tsv with a diagnosis"
        return "", f"no diagnosis: {session or 'a scan without a session'} is not in sessions.tsv"


def _subject_folders(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("sub-*") if path.is_dir()}


def _check_groups(
    folder: Path,
    people: Participants | None,
    subjects: Mapping[str, Subject],
    class_names: Sequence[str] | None,
    reading: CohortReading,
) -> None:
    """Refuse a data set without a diagnosis in any table, if the diagnosis is needed or requested."""
    if people is not None and people.has_groups:
        return
    if any(tables.has_groups for subject in subjects.values() for tables in subject.tables):
        return
    if class_names is None and reading.group_column is None:
        return
    what = f"no column {' or '.join(group_names(reading.group_column))}"
    if people is None:
        raise ValueError(
            f"{folder}: holds no participants.tsv, and no sub-*_sessions.tsv there has {what[3:]}"
        )
    raise ValueError(
        f"{people.path}: has {what}; its columns are {', '.join(people.columns)}; no "
        "sub-*_sessions.tsv has it either"
    )


def _rows_without_file(
    subjects: Mapping[str, Subject], files: Mapping[str, Sequence[T1wFile]]
) -> list[Exclusion]:
    """Return T1w scans in scans.tsv whose files are missing; warn about sessions without a row."""
    missing, places, unlisted = [], [], []
    for name, subject in subjects.items():
        there = {(t1w_stem(file.path) or "").casefold() for file in files[name]}
        for tables in subject.tables:
            for stem, (row, entry) in tables.listed.items():
                if stem not in there:
                    missing.append(Exclusion(name, entry, "listed in scans.tsv, but there is no such file"))
                    places.append(f"{row.place}: {entry}")
            if tables.sessions:
                unlisted += [
                    f"{name}: {f.session}" for f in files[name] if f.session not in tables.sessions
                ]
    if places:
        warn(f"{len(places)} T1w scans in scans.tsv have no file, such as {places[0]}")
    if unlisted:
        warn(f"{len(unlisted)} T1w scans belong to sessions that are not in sessions.tsv ({unlisted[0]})")
    return missing


def _records(
    folder: Path,
    images: Path,
    people: Participants | None,
    subjects: Mapping[str, Subject],
    chosen: Mapping[str, Sequence[T1wFile]],
) -> list[ScanRecord]:
    records = []
    doubtful: list[str] = []
    for name, files in chosen.items():
        for file in files:
            label = people.labels.get(name) if people is not None else None
            reason = ""
            if label is None:
                label, reason = subjects[name].group(file.session)
            date = subjects[name].date(file, len(files) > 1, doubtful)
            inside = str(file.path.relative_to(images))
            from_root = file.path.relative_to(folder).as_posix() if images.is_relative_to(folder) else ""
            what = (file.session, file.label, reason, from_root)
            records.append(ScanRecord(file.path, name, label, inside, date, *what))
    if doubtful:
        warn(f"{len(doubtful)} unreadable dates are ignored, because they are not needed: {doubtful[0]}")
    return records
