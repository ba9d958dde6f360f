"""What a cohort is: labelled scans of subjects, and everything that was left out, with the reason."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Other names of the two classes, as ADNI, OASIS and BIDS tables write them; compared without case.
_ALIASES = {
    "cn": "NC", "nc": "NC", "normal": "NC", "control": "NC", "hc": "NC", "healthy": "NC",
    "ad": "AD", "alzheimer": "AD", "dementia": "AD",
}  # fmt: skip


@dataclass(frozen=True)
class ScanRecord:
    """One scan of one subject, as a table describes it.

    Attributes
    ----------
    path : Path
        The file.
    subject : str
        Subject id.
    label : str
        Name of the class.
    scan_id : str
        Image id (ADNI), or path within the data set.
    date : str
        ISO date of the scan, or what sorts like one; empty if unknown.
    """

    path: Path
    subject: str
    label: str
    scan_id: str
    date: str = ""


@dataclass(frozen=True)
class Exclusion:
    """A scan, or a subject without one, that is not part of the cohort, and why."""

    subject: str
    scan_id: str
    reason: str


@dataclass(frozen=True)
class Cohort:
    """One scan of each subject, of two classes or more.

    Attributes
    ----------
    root : Path
        Where it was read from.
    class_names : tuple of str
        In the order of a network's outputs.
    scans : tuple of ScanRecord
        One per subject, sorted by subject.
    excluded : tuple of Exclusion
        All that was found and not taken.
    """

    root: Path
    class_names: tuple[str, ...]
    scans: tuple[ScanRecord, ...]
    excluded: tuple[Exclusion, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Return the class of every subject."""
        return {scan.subject: scan.label for scan in self.scans}

    def counts(self) -> dict[str, int]:
        """Return the number of subjects in every class."""
        found = Counter(scan.label for scan in self.scans)
        return {name: found[name] for name in self.class_names}

    def reasons(self) -> dict[str, int]:
        """Return how many scans were excluded for which reason."""
        return dict(Counter(exclusion.reason for exclusion in self.excluded).most_common())

    def only(self, subjects: Iterable[str]) -> "Cohort":
        """Return the part of the cohort that has these subjects."""
        wanted = set(subjects)
        kept = tuple(scan for scan in self.scans if scan.subject in wanted)
        return Cohort(self.root, self.class_names, kept, self.excluded)


def class_of(label: str, class_names: Sequence[str]) -> str | None:
    """Return the class that a table's label stands for, or ``None``; ``CN`` stands for ``NC``."""
    text = label.strip()
    for name in class_names:
        if text.casefold() == name.casefold():
            return name
    alias = _ALIASES.get(text.casefold())
    return alias if alias in class_names else None


def select(
    root: Path,
    class_names: Sequence[str],
    candidates: Iterable[ScanRecord],
    excluded: Iterable[Exclusion],
) -> Cohort:
    """Take the earliest scan of each subject, and of these the ones of the classes asked for.

    Parameters
    ----------
    root : Path
        Where the cohort was read from, for messages.
    class_names : sequence of str
        The classes, in the order of a network's outputs.
    candidates : iterable of ScanRecord
        All usable scans. Labels are as the table has them.
    excluded : iterable of Exclusion
        What was left out before.

    Raises
    ------
    ValueError
        If a class is left without subjects, naming the labels that were found.
    """
    left_out = list(excluded)
    taken: dict[str, ScanRecord] = {}
    # Undated scans come last; ids break ties, shorter (older) numbers first.
    order = sorted(
        candidates, key=lambda s: (s.subject, s.date == "", s.date, len(s.scan_id), s.scan_id, str(s.path))
    )
    for scan in order:
        if scan.subject in taken:
            left_out.append(Exclusion(scan.subject, scan.scan_id, "not the earliest scan of its subject"))
        else:
            taken[scan.subject] = scan
    scans = []
    for scan in taken.values():
        name = class_of(scan.label, class_names)
        if name is None:
            left_out.append(Exclusion(scan.subject, scan.scan_id, f"group {scan.label or '(none)'}"))
        else:
            scans.append(ScanRecord(scan.path, scan.subject, name, scan.scan_id, scan.date))
    cohort = Cohort(root, tuple(class_names), tuple(scans), tuple(left_out))
    empty = [name for name, count in cohort.counts().items() if count == 0]
    if empty:
        groups = sorted({scan.label or "(none)" for scan in taken.values()})
        reasons = "; ".join(f"{count} x {reason}" for reason, count in cohort.reasons().items())
        raise ValueError(
            f"{root}: no usable scan of {' and '.join(empty)}; groups found: {', '.join(groups) or 'none'}"
            + (f"; left out: {reasons}" if reasons else "")
        )
    return cohort
