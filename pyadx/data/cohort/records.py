"""A cohort: labelled scans of subjects, and excluded scans with reasons."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyadx.files import replacing

# Synonyms of the two classes in tables of ADNI, OASIS and BIDS; case is ignored.
_ALIASES = {
    "cn": "NC", "nc": "NC", "normal": "NC", "control": "NC", "hc": "NC", "healthy": "NC",
    "ad": "AD", "alzheimer": "AD", "dementia": "AD",
}  # fmt: skip


@dataclass(frozen=True)
class ScanRecord:
    """One scan of one subject, with its facts from the tables.

    Attributes
    ----------
    path : Path
        The file.
    subject : str
        Subject id.
    label : str
        Name of the class. If scans of all groups are read, the table's own label, which may be empty.
    scan_id : str
        Image id (ADNI), or path within the data set.
    date : str
        ISO date or time of the scan; empty if unknown.
    session : str
        BIDS: the session, such as ``ses-M00``; empty if the data set has no sessions.
    entities : str
        Entities that distinguish it from other scans of its subject in file names:
        ``ses-M00_acq-fast_run-2``.
    unlabelled : str
        Reason of a missing label, if known.
    bids_path : str
        BIDS: path from the root of the data set, also for scans of a derivative.
    """

    path: Path
    subject: str
    label: str
    scan_id: str
    date: str = ""
    session: str = ""
    entities: str = ""
    unlabelled: str = ""
    bids_path: str = ""


@dataclass(frozen=True)
class Exclusion:
    """An excluded scan, or a subject without a scan, and the reason."""

    subject: str
    scan_id: str
    reason: str


@dataclass(frozen=True)
class Cohort:
    """Scans of subjects: one per subject, of two or more classes, unless all scans were requested.

    Attributes
    ----------
    root : Path
        Folder or table that it was read from.
    class_names : tuple of str
        Classes in the order of a network's outputs; empty if all groups were requested.
    scans : tuple of ScanRecord
        Sorted by subject.
    excluded : tuple of Exclusion
        Everything that was found and excluded.
    """

    root: Path
    class_names: tuple[str, ...]
    scans: tuple[ScanRecord, ...]
    excluded: tuple[Exclusion, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Return the class of every subject; with several scans, the class of the last one."""
        return {scan.subject: scan.label for scan in self.scans}

    def counts(self) -> dict[str, int]:
        """Return the number of subjects in every class."""
        found = Counter(scan.label for scan in self.scans)
        return {name: found[name] for name in self.class_names}

    def reasons(self) -> dict[str, int]:
        """Return the number of excluded scans by reason."""
        return dict(Counter(exclusion.reason for exclusion in self.excluded).most_common())

    def write_excluded(self, path: str | os.PathLike[str]) -> None:
        """Write the exclusions as a CSV with the columns subject, scan and reason."""
        target = Path(path)
        with replacing(target) as (partial,), partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["subject", "scan", "reason"])
            writer.writerows([e.subject, e.scan_id, e.reason] for e in self.excluded)

    def only(self, subjects: Iterable[str]) -> "Cohort":
        """Return the cohort reduced to these subjects."""
        wanted = set(subjects)
        kept = tuple(scan for scan in self.scans if scan.subject in wanted)
        return Cohort(self.root, self.class_names, kept, self.excluded)


def class_of(label: str, class_names: Sequence[str]) -> str | None:
    """Return the class that a table's label means, or ``None``; for example ``CN`` means ``NC``."""
    text = label.strip()
    for name in class_names:
        if text.casefold() == name.casefold():
            return name
    alias = _ALIASES.get(text.casefold())
    return alias if alias in class_names else None
