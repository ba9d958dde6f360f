"""The manifest of a cohort's heatmaps: an append-only file, one line per finished or failed scan."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pyadx.data.cohort import ScanRecord


@dataclass(frozen=True)
class Entry:
    """The result of one scan.

    Attributes
    ----------
    subject : str
        Subject id.
    scan : str
        File name of the scan.
    request : str
        Hash of the request: method, parameters, network, target.
    status : str
        ``done`` or ``failed``.
    reason : str
        Reason of a failure.
    seconds : float
        Time for reading, explaining and writing.
    file : str
        The heatmap, relative to the manifest's folder.
    file_sha256 : str
        SHA-256 of that file, as printed by ``sha256sum``.
    entities : str
        Entities that distinguish the scan from others of its subject, such as ``ses-M00_run-2``.
    label : str
        Group of the subject, if the cohort's tables name it.
    place : str
        Hash of the scan's whole path; the path itself stays private. See `place_of`.
    outside : tuple of str
        Properties in which the scan is unlike those that the network was made for.
    """

    subject: str
    scan: str
    request: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    file: str = ""
    file_sha256: str = ""
    entities: str = ""
    label: str = ""
    place: str = ""
    outside: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """The scan and the request that the entry belongs to."""
        return self.subject, self.entities, self.request

    @property
    def name(self) -> str:
        """Name of the scan in messages, such as ``sub-01_ses-M00``."""
        return "_".join(filter(None, (self.subject, self.entities)))


class Manifest:
    """Reads and extends a manifest. A truncated last line is ignored.

    Parameters
    ----------
    path : Path
        ``manifest.jsonl`` in the folder of the heatmaps.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[tuple[str, str, str], Entry] = {}
        text = path.read_bytes() if path.is_file() else b""
        for line in text.split(b"\n"):
            try:
                facts = json.loads(line)
                if "sha256" in facts:  # of an older version
                    facts["file_sha256"] = facts.pop("sha256")
                entry = Entry(**facts)
            except (ValueError, TypeError):
                continue
            self.entries[entry.key] = entry
        self._end = b"" if not text or text.endswith(b"\n") else b"\n"

    def add(self, entry: Entry) -> None:
        """Append an entry, and flush it to the disk."""
        with self.path.open("ab") as file:
            file.write(self._end + json.dumps(asdict(entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._end = b""
        self.entries[entry.key] = entry

    def is_done(self, scan: ScanRecord, request: str) -> bool:
        """Return whether the scan's heatmap exists, answers this request, and has its original bytes."""
        entry = self.entries.get((scan.subject, scan.entities, request))
        # A scan at another path is another image, even with the same id.
        if entry is None or entry.status != "done" or entry.scan != scan.path.name:
            return False
        if entry.place not in ("", place_of(scan.path)):  # earlier versions did not store it
            return False
        try:
            return file_sha256(self.path.parent / entry.file) == entry.file_sha256
        except OSError:
            return False


def place_of(path: Path) -> str:
    """Return a hash of a file's whole path."""
    return hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
