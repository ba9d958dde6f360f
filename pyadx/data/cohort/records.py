"""What a cohort is: labelled scans of subjects, and everything that was left out, with the reason."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyadx.files import replacing

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
        Name of the class; where every scan is taken, what the table says, which may be nothing.
    scan_id : str
        Image id (ADNI), or path within the data set.
    date : str
        ISO date or time of the scan; empty if unknown.
    session : str
        BIDS: the session, such as ``ses-M00``; empty where the data set has none.
    entities : str
        What tells it from other scans of its subject in names of files: ``ses-M00_acq-fast_run-2``.
    unlabelled : str
        Why there is no label, where the reason is known.
    bids_path : str
        BIDS: path within the data set, from its root also for the scans of a derivative.
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
    """A scan, or a subject without one, that is not part of the cohort, and why."""

    subject: str
    scan_id: str
    reason: str


@dataclass(frozen=True)
class Cohort:
    """Scans of subjects: one of each, of two classes or more, unless all scans were asked for.

    Attributes
    ----------
    root : Path
        Where it was read from.
    class_names : tuple of str
        In the order of a network's outputs; empty where every group was asked for.
    scans : tuple of ScanRecord
        Sorted by subject.
    excluded : tuple of Exclusion
        All that was found and not taken.
    """

    root: Path
    class_names: tuple[str, ...]
    scans: tuple[ScanRecord, ...]
    excluded: tuple[Exclusion, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Return the class of every subject; of several scans that of the last one."""
        return {scan.subject: scan.label for scan in self.scans}

    def counts(self) -> dict[str, int]:
        """Return the number of subjects in every class."""
        found = Counter(scan.label for scan in self.scans)
        return {name: found[name] for name in self.class_names}

    def reasons(self) -> dict[str, int]:
        """Return how many scans were excluded for which reason."""
        return dict(Counter(exclusion.reason for exclusion in self.excluded).most_common())

    def write_excluded(self, path: str | os.PathLike[str]) -> None:
        """Write what was left out, and why, as a CSV with the columns subject, scan and reason."""
        target = Path(path)
        with replacing(target) as (partial,), partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["subject", "scan", "reason"])
            writer.writerows([e.subject, e.scan_id, e.reason] for e in self.excluded)

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
