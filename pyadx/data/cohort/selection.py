"""Select scans: the earliest of each subject, by date or by name, of the requested classes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pyadx.data.cohort.reading import CohortReading
from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord, class_of
from pyadx.data.cohort.tables import warn
from pyadx.data.file_kinds import scan_suffix

_BY_DATE = "have dates"
_BY_NAME = "have no dates"
_MIXED_BY_NAME = "have sessions with and without a date; their names decide which is the earliest"
_MIXED_BY_DATE = "have scans with and without a date; one with a date counts as the earliest"
_NO_ORDER = "have sessions without dates whose names do not say which came first; the alphabet decides"
_NO_DATES = "have several scans without dates; the first by name is taken"


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key for text with numbers: ses-2 before ses-10, ses-M96 before ses-M108."""
    parts = re.split(r"([0-9]+)", text.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def in_order(scans: Iterable[ScanRecord]) -> tuple[list[ScanRecord], str]:
    """Sort the scans of one subject, the earliest first; return them and the criterion."""
    # Within a session shorter names come first, because they hold smaller numbers.
    named = sorted(scans, key=lambda s: (natural_key(s.session), *_name(s), str(s.path)))
    dated = [scan for scan in named if scan.date]
    if not dated:
        return named, _what_names_tell(named)
    by_date = sorted(dated, key=lambda s: s.date)
    undated = [scan for scan in named if not scan.date]
    if not undated:
        return by_date, _BY_DATE
    if all(scan.session for scan in named) and [s.session for s in dated] == [s.session for s in by_date]:
        # Within a session the dates of its scans decide.
        places = {session: i for i, session in enumerate(dict.fromkeys(s.session for s in named))}
        known = sorted(named, key=lambda s: (places[s.session], not s.date, s.date))
        return known, _BY_DATE if len(places) == 1 else _MIXED_BY_NAME
    return by_date + undated, _MIXED_BY_DATE


def _name(scan: ScanRecord) -> tuple[int, str]:
    """Return a key that sorts by name, independent of compression."""
    stem = scan.scan_id[: len(scan.scan_id) - len(scan_suffix(scan.scan_id))]
    return len(stem), scan.scan_id


def _what_names_tell(scans: Sequence[ScanRecord]) -> str:
    if len(scans) > 1 and not any(scan.session or scan.entities for scan in scans):
        return _NO_DATES
    # Names that differ only in their numbers have a clear order.
    words = {re.sub(r"[0-9]+", "", scan.session.casefold()) for scan in scans}
    return _BY_NAME if len(words) == 1 else _NO_ORDER


def why_not(scan: ScanRecord, taken: ScanRecord) -> str:
    """Return the reason why a scan was excluded in favour of another one."""
    if scan.entities or scan.session:
        if scan.session == taken.session and (scan.date == taken.date or not scan.date):
            return "another scan of its session was taken"
    elif not scan.date and not taken.date:
        return "without dates another scan of its subject was taken"
    elif not scan.date:
        return "without a date, unlike another scan of its subject"
    return "not the earliest scan of its subject"


def earliest(scans: Iterable[ScanRecord]) -> tuple[list[ScanRecord], list[Exclusion]]:
    """Select the earliest scan of each subject; warn if the order is doubtful.

    Returns
    -------
    taken : list of ScanRecord
        Sorted by subject.
    left_out : list of Exclusion
        All other scans, with reasons.
    """
    by_subject: dict[str, list[ScanRecord]] = {}
    for scan in scans:
        by_subject.setdefault(scan.subject, []).append(scan)
    taken, left_out = [], []
    decided: dict[str, list[str]] = {}
    for subject in sorted(by_subject):
        (first, *others), how = in_order(by_subject[subject])
        taken.append(first)
        left_out += [Exclusion(s.subject, s.scan_id, why_not(s, first)) for s in others]
        decided.setdefault(how, []).append(f"{subject}: {first.session or first.scan_id}")
    for how in (_MIXED_BY_NAME, _MIXED_BY_DATE, _NO_ORDER, _NO_DATES):
        if names := decided.get(how):
            warn(f"{len(names)} of {len(by_subject)} subjects {how} ({names[0]})")
    return taken, left_out


def select(
    root: Path,
    class_names: Sequence[str] | None,
    candidates: Iterable[ScanRecord],
    excluded: Iterable[Exclusion],
    reading: CohortReading,
) -> Cohort:
    """Select the earliest scan of each subject (or all scans), then those of the requested classes.

    Parameters
    ----------
    root : Path
        Folder or table of the cohort, for messages.
    class_names : sequence of str, optional
        The classes, in the order of a network's outputs; by default all.
    candidates : iterable of ScanRecord
        All usable scans, with the labels of the table.
    excluded : iterable of Exclusion
        Scans that were excluded before.
    reading : CohortReading
        Says whether to select all scans, or one per subject.

    Raises
    ------
    ValueError
        If a class has no subjects; the message names the labels that were found.
    """
    left_out = list(excluded)
    if reading.sessions == "all":
        taken = sorted(candidates, key=lambda s: (s.subject, natural_key(s.session), s.date, s.scan_id))
    else:
        taken, more = earliest(candidates)
        left_out += more
    if class_names is None:
        scans = taken
    else:
        scans = []
        for scan in taken:
            name = class_of(scan.label, class_names)
            if name is None:
                reason = scan.unlabelled or f"group {scan.label or '(none)'}"
                left_out.append(Exclusion(scan.subject, scan.scan_id, reason))
            else:
                scans.append(replace(scan, label=name))
    cohort = Cohort(root, tuple(class_names or ()), tuple(scans), tuple(left_out))
    _refuse_empty(cohort, taken)
    return cohort


def _refuse_empty(cohort: Cohort, taken: Sequence[ScanRecord]) -> None:
    empty = [name for name, count in cohort.counts().items() if count == 0]
    if cohort.scans and not empty:
        return
    reasons = "; ".join(f"{count} x {reason}" for reason, count in cohort.reasons().items())
    left_out = f"; left out: {reasons}" if reasons else ""
    if not cohort.class_names:
        raise ValueError(f"{cohort.root}: no usable scan{left_out}")
    groups = ", ".join(sorted({scan.label or "(none)" for scan in taken})) or "none"
    raise ValueError(
        f"{cohort.root}: no usable scan of {' and '.join(empty)}; groups found: {groups}{left_out}"
    )
