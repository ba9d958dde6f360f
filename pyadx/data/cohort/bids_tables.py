"""The tables of a BIDS data set: participants.tsv, and sessions.tsv and scans.tsv of a subject."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyadx.data.cohort.bids_names import T1wFile, raw_stem, t1w_stem
from pyadx.data.cohort.dates import Moment
from pyadx.data.cohort.tables import Row, Table, needed_cell, read_table

GROUP_COLUMNS = ("group", "diagnosis", "dx", "label", "research_group")


@dataclass(frozen=True)
class Participants:
    """The participants in ``participants.tsv``.

    Attributes
    ----------
    path : Path
        The table.
    labels : dict, optional
        Diagnosis by subject; ``None`` if the table has no column with diagnoses.
    columns : tuple of str
        Columns of the table, for messages.
    """

    path: Path
    labels: dict[str, str | None]
    columns: tuple[str, ...]

    @property
    def has_groups(self) -> bool:
        """Return whether the table has diagnoses."""
        return any(label is not None for label in self.labels.values())


def read_participants(folder: Path, group_column: str | None) -> Participants | None:
    """Read ``participants.tsv``; return ``None`` if it is missing.

    Raises
    ------
    ValueError
        If it has no participant_id, or lists a participant twice.
    """
    path = folder / "participants.tsv"
    if not path.is_file():
        return None
    table = read_table(path)
    who = table.needed("participant_id")
    group = table.optional(*([group_column] if group_column else GROUP_COLUMNS))
    rows: dict[str, Row] = {}
    labels: dict[str, str | None] = {}
    for row in table.rows:
        name = _prefixed("sub-", needed_cell(row, who, "participant_id"))
        if name in rows:
            raise ValueError(f"{row.place}: {name} is listed twice, first in line {rows[name].line}")
        rows[name] = row
        labels[name] = None if group is None else row[group]
    return Participants(path, labels, table.columns)


@dataclass(frozen=True)
class SubjectTables:
    """The contents of a subject's own tables.

    Attributes
    ----------
    sessions : dict
        Time and group by session.
    scans : dict
        Time of a T1w scan by its stem (case-folded).
    listed : dict
        Rows of scans.tsv by the stem (case-folded) of the T1w scan: the place in the table and the entry.
    has_groups : bool
        True if sessions.tsv has the column with the group.
    """

    sessions: dict[str, tuple[Moment, str]] = field(default_factory=dict)
    scans: dict[str, Moment] = field(default_factory=dict)
    listed: dict[str, tuple[Row, str]] = field(default_factory=dict)
    has_groups: bool = False

    def when(self, file: T1wFile, subject: str) -> Moment | None:
        """Return the time of a scan, from its own row or its session's row."""
        own = t1w_stem(file.path)
        of_session = [
            moment for stem, moment in self.scans.items() if file.session and _of(stem, file.session)
        ]
        found = [self.scans.get(stem.casefold()) for stem in (own or "", raw_stem(file, subject))]
        if file.session in self.sessions:
            found.append(self.sessions[file.session][0])
        # A derivative may lack entities of its raw scan, so any scan of the same session gives the time.
        found += of_session
        return next((moment for moment in found if moment is not None and moment.known), None)


def _of(stem: str, session: str) -> bool:
    return f"_{session.casefold()}_" in stem


def read_subject_tables(root: Path, group_column: str | None) -> SubjectTables:
    """Read ``sub-*_sessions.tsv`` and all ``*_scans.tsv`` below the folder of a subject.

    Raises
    ------
    ValueError
        If a table cannot be read, or lists a session or scan twice with different contents.
    """
    name = root.name
    tables = SubjectTables()
    path = root / f"{name}_sessions.tsv"
    if path.is_file():
        tables = _read_sessions(read_table(path), group_column)
    for scans in sorted(root.rglob("*_scans.tsv")):
        _read_scans(read_table(scans), tables)
    return tables


def _read_sessions(table: Table, group_column: str | None) -> SubjectTables:
    what = table.needed("session_id")
    when = table.optional("acq_time")
    group = table.optional(*([group_column] if group_column else GROUP_COLUMNS))
    tables = SubjectTables(has_groups=group is not None)
    lines: dict[str, int] = {}
    for row in table.rows:
        session = _prefixed("ses-", needed_cell(row, what, "session_id"))
        entry = (_moment(row, when), row[group])
        if session in lines and entry != tables.sessions[session]:
            raise ValueError(
                f"{row.place}: {session} is listed twice and differently, first in line {lines[session]}"
            )
        lines.setdefault(session, row.line)
        tables.sessions[session] = entry
    return tables


def _read_scans(table: Table, tables: SubjectTables) -> None:
    what = table.needed("filename")
    when = table.optional("acq_time")
    for row in table.rows:
        # Paths may start at the subject's, the session's or the data set's folder. File names are unique
        # within a subject, so the name is enough.
        stem = t1w_stem(row[what])
        if stem is None:
            continue
        key, moment = stem.casefold(), _moment(row, when)
        other = tables.scans.get(key)
        if other is not None and other.known and moment.known and other.text != moment.text:
            raise ValueError(
                f"{row.place}: {row[what]} has the time {moment.text}, and another one at {other.place}"
            )
        if other is None or not other.known:
            tables.scans[key] = moment
        tables.listed.setdefault(key, (row, row[what]))


def _moment(row: Row, when: int | None) -> Moment:
    return Moment(row[when], f"{row.place}: acq_time")


def _prefixed(prefix: str, text: str) -> str:
    return text if text.startswith(prefix) else prefix + text


def group_names(group_column: str | None) -> Sequence[str]:
    """Return the possible names of the column with the diagnosis."""
    return [group_column] if group_column else GROUP_COLUMNS
