"""The manifest of a cohort's heatmaps: one line per finished or failed scan, only ever appended to."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pyadx.data.cohort import ScanRecord


@dataclass(frozen=True)
class Entry:
    """How one scan went.

    Attributes
    ----------
    subject : str
        Its id.
    scan : str
        The file.
    request : str
        Hash of what was asked: method, parameters, network, target.
    status : str
        ``done`` or ``failed``.
    reason : str
        Why it failed.
    seconds : float
        Reading, explaining and writing.
    file : str
        The heatmap, relative to the manifest's folder.
    file_sha256 : str
        Of that file, as ``sha256sum`` gives it.
    entities : str
        What tells the scan from others of its subject, such as ``ses-M00_run-2``.
    label : str
        Its group, where the cohort's tables say it.
    place : str
        Hash of the scan's whole path, which itself is nobody's business; see `place_of`.
    outside : tuple of str
        In what the scan is not like those that the network was made for.
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
        """What it is about: a scan and a request."""
        return self.subject, self.entities, self.request

    @property
    def name(self) -> str:
        """The scan in messages, such as ``sub-01_ses-M00``."""
        return "_".join(filter(None, (self.subject, self.entities)))


class Manifest:
    """Reads and extends a manifest; a last line that was cut off is passed over.

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
        """Append an entry, and wait until it is on the disk."""
        with self.path.open("ab") as file:
            file.write(self._end + json.dumps(asdict(entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._end = b""
        self.entries[entry.key] = entry

    def is_done(self, scan: ScanRecord, request: str) -> bool:
        """Whether the scan's heatmap is there, answers this request, and is the file that was written."""
        entry = self.entries.get((scan.subject, scan.entities, request))
        # Another file under the same id is another image.
        if entry is None or entry.status != "done" or entry.scan != scan.path.name:
            return False
        if entry.place not in ("", place_of(scan.path)):  # earlier versions did not note it
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
