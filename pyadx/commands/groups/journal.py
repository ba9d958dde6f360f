"""Finished steps of a group analysis, stored beside its results, so that a second call continues."""

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pyadx.commands.cohorts.workers import Workers
from pyadx.commands.groups.passes import in_order
from pyadx.files import holds_results, replacing
from pyadx.npz import npz_headers

Arrays = dict[str, np.ndarray]

_NOTE, _LOCK = "request.json", "lock"
_KEY = re.compile(r"[0-9a-f]{16}")


class Journal:
    """Named parts of one request, each a small ``.npz`` that is written atomically.

    A damaged part counts as missing; check sums in the archive show the damage.

    Parameters
    ----------
    folder : Path
        Folder of this request. Its name is a hash of everything that decides the result, so that a
        worker left over from another request cannot mix in its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a part."""
        with replacing(self._path(name)) as (partial,), partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its stubs take the names for options

    def held(self, name: str) -> Arrays | None:
        """Return a part, or ``None`` where it is missing or damaged."""
        path = self._path(name)
        try:
            npz_headers(path)  # before any array is allocated
            with np.load(path, allow_pickle=False) as found:
                return {key: found[key] for key in found.files}
        except Exception:  # zipfile and NumPy raise many kinds for damaged files
            return None

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def work_folder(out: Path) -> Path:
    """Return the folder beside the results that holds unfinished work."""
    return out.absolute().with_name(f"{out.absolute().name}.work")


@contextmanager
def journal(out: Path, facts: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the journal of a request; remove unfinished work of other requests for the same results.

    The journal is kept when the block is interrupted or the machine fails. It is removed when the block
    ends without error, and after ``ValueError`` and ``TypeError``, because corrected input is another
    request.

    Parameters
    ----------
    out : Path
        Folder of the results.
    facts : mapping
        Everything that decides the result, as JSON.

    Raises
    ------
    ValueError
        If the folder beside the results holds other files, or another process works there.
    """
    root = work_folder(out)
    holds_results(root, _NOTE, "unfinished work of pyadx group")
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    root.mkdir(exist_ok=True)
    if not (root / _NOTE).exists():
        _note(root, facts)  # first, because the folder is recognised by it
    with (root / _LOCK).open("wb") as lock:
        _lock(lock, root)
        _note(root, facts)
        _remove(root, besides=key)
        (root / key).mkdir(exist_ok=True)
        try:
            yield Journal(root / key)
        except (ValueError, TypeError):
            _remove(root)
            raise
        except BaseException:
            if not any((root / key).iterdir()):
                _remove(root)  # nothing to continue
            raise
        _remove(root)


def _note(root: Path, facts: Mapping[str, Any]) -> None:
    with replacing(root / _NOTE) as (partial,):
        partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _lock(file: BinaryIO, root: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"{root}: another process is working on the same results; wait for it or stop it, or choose "
            "another --out"
        ) from None
    except OSError:
        pass  # a file system without locks


def _remove(root: Path, besides: str | None = None) -> None:
    """Remove the journal's files; keep a folder that holds other files."""
    for path in root.iterdir():
        if path.is_dir() and _KEY.fullmatch(path.name) and path.name != besides:
            shutil.rmtree(path)
    if besides is None:
        for name in (_NOTE, _LOCK):
            (root / name).unlink(missing_ok=True)
        with suppress(OSError):
            root.rmdir()


def resumed(
    work: Journal,
    name: str,
    do: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: Workers,
    pack: Callable[[Any], Arrays],
    unpack: Callable[[Any, Arrays], Any],
) -> Iterator[Any]:
    """Yield the results of tasks in order; results in the journal are not computed again.

    Parameters
    ----------
    work : Journal
        Stores each result when it is ready.
    name : str
        Name of the parts, which become ``NAME-00000`` and so on.
    do : callable
        Importable function from task to result.
    tasks : sequence
        All tasks, the same in every run of the request.
    workers : Workers
        Workers that run the tasks.
    pack : callable
        Function from result to arrays.
    unpack : callable
        Function from task and arrays to result. It raises ``ValueError`` or ``KeyError`` if they do not
        fit.
    """

    def held(at: int) -> Any:
        arrays = work.held(f"{name}-{at:05d}")
        try:
            return None if arrays is None else unpack(tasks[at], arrays)
        except (ValueError, KeyError, TypeError, IndexError):
            return None

    missing = [at for at in range(len(tasks)) if held(at) is None]
    lacking = set(missing)
    fresh = in_order(do, (tasks[at] for at in missing), workers)
    for at, task in enumerate(tasks):
        found = None if at in lacking else held(at)
        if found is None:
            found = next(fresh) if at in lacking else do(task)
            work.keep(f"{name}-{at:05d}", pack(found))
        yield found


def as_bytes(facts: Any) -> np.ndarray:
    """Return plain data as JSON in an array of bytes."""
    return np.frombuffer(json.dumps(facts).encode(), np.uint8)


def of_bytes(text: np.ndarray) -> Any:
    """Return the data from which `as_bytes` made the array.

    Raises
    ------
    ValueError
        If the bytes are not JSON.
    """
    return json.loads(text.astype(np.uint8).tobytes())
