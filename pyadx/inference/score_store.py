"""A file for finished chunks of scores, from which an interrupted run can be resumed.

Layout: one line of JSON that describes the run, then one record per chunk. A record is the number of
scores (int32), their CRC-32 (uint32) and the scores (float64), all little-endian. Each record is flushed to
the disk before another is written. A truncated or damaged record is dropped when the file is opened, with
all records after it. A new file has a temporary name until its first chunk is on the disk; only then does
it replace an old one.
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

_MOST_HEADER = 1 << 16  # bytes
_HEAD = np.dtype([("count", "<i4"), ("crc", "<u4")])
_SCORE = np.dtype("<f8")


class ScoreStore:
    """Chunks of scores on disk.

    Parameters
    ----------
    path : Path
        The file; created if it does not exist.
    facts : dict
        Everything that determines the scores (model, scan, regions, versions), as values that JSON can
        hold. A file with other facts is refused.
    resume : bool
        Whether to continue an existing file.
    overwrite : bool
        Whether to replace an existing file, if ``resume`` is false. The old file stays until the first new
        chunk is on the disk. If both are false, the file must not exist.

    Attributes
    ----------
    chunks : int
        Number of chunks in the file.

    Raises
    ------
    ValueError
        If the file exists although both ``resume`` and ``overwrite`` are false, has other facts, is not a
        file of scores, or is being written by another process; or if its folder does not exist or is not
        writable.
    """

    def __init__(self, path: Path, facts: dict[str, Any], *, resume: bool, overwrite: bool = False) -> None:
        check_writable_folder(path)
        self.path = path
        self._found: list[Tensor] = []
        header = (json.dumps({"pyadx scores": 1, **facts}, sort_keys=True) + "\n").encode()
        if len(header) > _MOST_HEADER:
            raise ValueError(
                f"the facts of a score store take {len(header)} bytes, at most {_MOST_HEADER} are possible"
            )
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
        """Number of chunks in the file."""
        return len(self._found)

    def read(self, index: int) -> Tensor:
        """Return the scores of one chunk, float64 ``[n]``."""
        return self._found[index]

    def append(self, scores: Tensor) -> None:
        """Append the scores of a chunk ``[n]``, and wait until they are on the disk."""
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
            self.path.unlink(missing_ok=True)  # it holds nothing to resume

    def _lock(self) -> None:
        """Lock the file; ``ValueError`` if a process, here or on a host that shares locks, has it open."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"{self.path}: another process is writing it; wait for it or stop it"
            ) from None
        except OSError:
            pass  # the file system has no locks

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, header: bytes) -> int:
        """Read all intact records; return the position of their end."""
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
            return f"{name}: {there.get(name)} in the file, {here.get(name)} in this run"
    return "its first line has another format"
