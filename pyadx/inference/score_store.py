"""A file that finished chunks of scores go into, so that a killed run can go on.

Layout: one line of JSON that says what is being scored, then records of one chunk each: the count of
scores (int32), their CRC-32 (uint32), and the scores (float64), little-endian. Every record is flushed
to the disk before the next chunk is scored; a record that was cut off is dropped when the file is opened.
A new file has a temporary name until its first chunk is on the disk; only then does it replace an old one.
"""

import fcntl
import json
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from pyadx.files import check_writable_folder, temporary_name

_MOST_HEADER = 1 << 16
_HEAD = np.dtype([("count", "<i4"), ("crc", "<u4")])
_SCORE = np.dtype("<f8")


class ScoreStore:
    """Chunks of scores on disk.

    Parameters
    ----------
    path : Path
        The file; made if it does not exist.
    facts : dict
        What decides the scores, as JSON: model, scan, regions, versions. A file that was written for
        other facts is refused.
    resume : bool
        Whether to go on with an existing file.
    overwrite : bool
        Without ``resume``: whether to start again although there is a file, which stays until the first
        new chunk is on the disk. With neither it must not exist.

    Attributes
    ----------
    chunks : int
        Number of chunks the file holds.

    Raises
    ------
    ValueError
        If the file exists and both ``resume`` and ``overwrite`` are false, was written for other facts, is
        no such file, or another process is writing it.
    """

    def __init__(self, path: Path, facts: dict[str, Any], *, resume: bool, overwrite: bool = False) -> None:
        check_writable_folder(path)
        self.path = path
        self._found: list[Tensor] = []
        header = (json.dumps({"pyadx scores": 1, **facts}, sort_keys=True) + "\n").encode()
        if len(header) > _MOST_HEADER:
            raise ValueError("the facts of a score store are too long")
        if path.exists() and not (resume or overwrite):
            raise ValueError(
                f"{path}: holds the scores of an interrupted run; use --resume to continue it, or "
                "delete it to start again"
            )
        self._temporary: Path | None = None
        if resume and path.exists() and path.stat().st_size > 0:
            self._file: BinaryIO = path.open("r+b")
            self._lock()
            try:
                length = self._read(header)
            except ValueError:
                self._file.close()
                raise
            self._file.truncate(length)
            self._file.seek(length)
        else:
            self._temporary = temporary_name(path)
            self._file = self._temporary.open("wb")
            self._lock()
            self._write(header)

    @property
    def chunks(self) -> int:
        """Number of chunks the file holds."""
        return len(self._found)

    def read(self, index: int) -> Tensor:
        """Return one chunk, float64."""
        return self._found[index]

    def append(self, scores: Tensor) -> None:
        """Write one more chunk, and wait until it is on the disk."""
        values = scores.detach().double().cpu().numpy().astype(_SCORE)
        data = values.tobytes()
        self._write(np.array((len(values), zlib.crc32(data)), _HEAD).tobytes() + data)
        if self._temporary is not None:
            os.replace(self._temporary, self.path)
            self._temporary = None
        self._found.append(torch.from_numpy(values.astype(np.float64)))

    def __enter__(self) -> "ScoreStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
        elif not self.chunks:
            self.path.unlink(missing_ok=True)  # nothing worth going on with

    def _lock(self) -> None:
        """Refuse a file that a living process, on any host that locks reach, has open."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"{self.path}: another process is writing it; wait for it or stop it"
            ) from None
        except OSError:
            pass  # a file system without locks

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, header: bytes) -> int:
        """Read all whole records; return where they end."""
        data = self.path.read_bytes()
        end = data.find(b"\n", 0, _MOST_HEADER) + 1
        if end == 0 or not data.startswith(b'{"'):
            raise ValueError(f"{self.path}: is not a file of scores; choose another name or delete it")
        if data[:end] != header:
            raise ValueError(
                f"{self.path}: belongs to another run ({_first_difference(data[:end], header)}); repeat "
                "that run's options, or delete the file to start again"
            )
        while end + _HEAD.itemsize <= len(data):
            head = np.frombuffer(data, _HEAD, 1, end)[0]
            begin = end + _HEAD.itemsize
            stop = begin + int(head["count"]) * _SCORE.itemsize
            if head["count"] < 0 or stop > len(data) or zlib.crc32(data[begin:stop]) != head["crc"]:
                break
            values = np.frombuffer(data, _SCORE, int(head["count"]), begin)
            self._found.append(torch.from_numpy(values.astype(np.float64)))
            end = stop
        return end


def _first_difference(one: bytes, other: bytes) -> str:
    try:
        there, here = json.loads(one), json.loads(other)
    except ValueError:
        return "its first line cannot be read"
    for name in sorted({*there, *here}):
        if there.get(name) != here.get(name):
            return f"{name}: {there.get(name)} there, {here.get(name)} here"
    return "its first line is written differently"
