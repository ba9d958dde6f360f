"""Write files atomically: a file is replaced as a whole, or left as it was."""

import glob
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

_PREFIX = ".partial"
_ABANDONED = 24 * 3600.0  # seconds; a file unchanged for longer is not being written any more

_Renames = list[tuple[Path, Path]]
_waiting: ContextVar[_Renames | None] = ContextVar("_waiting", default=None)
_own: set[Path] = set()  # temporary files that this process is about to write or rename


@contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Yield a temporary path beside every target; rename them all when the block ends without error.

    After an error or interruption inside the block, the targets are as they were and the temporary
    files are removed. Temporary names keep the targets' suffixes, because some writers choose the
    format by the suffix. Inside `together` the renames wait for the end of the outer block.
    """
    partial = [temporary_name(target) for target in targets]
    waiting = _waiting.get()
    kept = False
    try:
        yield partial
        renames = list(zip(partial, targets, strict=True))
        if waiting is None:
            _rename(renames)
        else:
            waiting += renames
            kept = True
    finally:
        if not kept:
            _discard(partial)


@contextmanager
def together() -> Iterator[None]:
    """Rename all files that `replacing` writes inside the block at its end, or none of them.

    The new files cannot be read inside the block. Threads started inside are not part of it. A block
    inside another one is part of the outer one.
    """
    if _waiting.get() is not None:
        yield
        return
    renames: _Renames = []
    token = _waiting.set(renames)
    try:
        yield
        _rename(renames)
    finally:
        _waiting.reset(token)
        _discard([written for written, _ in renames])


def _rename(renames: _Renames) -> None:
    """Rename all files or none: a second name keeps every replaced file until the last rename."""
    if len(renames) == 1:
        os.replace(*renames[0])
        return
    undo: list[tuple[Path, Path | None]] = []
    try:
        for written, target in renames:
            undo.append((target, _second_name(target)))
            os.replace(written, target)
    except BaseException:
        for (target, before), (written, _) in reversed(list(zip(undo, renames, strict=False))):
            if before is not None:
                os.replace(before, target)
            elif not written.exists():  # it was renamed, and there was no earlier file
                with suppress(OSError):
                    target.unlink()
        raise
    finally:
        _discard([before for _, before in undo if before is not None])


def _second_name(target: Path) -> Path | None:
    """Return another name of an existing file, so that a rename over it can be taken back."""
    if not target.is_file():
        return None
    name = temporary_name(target)
    try:
        os.link(target, name, follow_symlinks=False)
    except OSError:  # a file system without hard links
        import shutil

        shutil.copy2(target, name, follow_symlinks=False)
    return name


def _discard(partial: list[Path]) -> None:
    for written in partial:
        written.unlink(missing_ok=True)
        _own.discard(written.absolute())


def temporary_name(target: Path) -> Path:
    """Return a name beside a target that no other process on any host uses; see `remove_partial`."""
    name = target.with_name(f"{_PREFIX}-{_here()}-{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
    _own.add(name.absolute())
    return name


def _here() -> str:
    """Identify this host, its last start, and its process namespace (a container has its own)."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def remove_partial(target: Path) -> None:
    """Remove temporary files that killed processes left beside a target.

    A file's name says which process writes it. The file stays while that process runs on this host.
    A file of another host stays until it has not changed for a day.
    """
    for left in target.parent.glob(f"{_PREFIX}-*-{glob.escape(target.name)}"):
        if not _may_be_written(left, target):
            left.unlink(missing_ok=True)


def _may_be_written(partial: Path, target: Path) -> bool:
    owner = partial.name.removeprefix(f"{_PREFIX}-").removesuffix(f"-{target.name}").split("-")
    if len(owner) == 3 and owner[0] == _here() and owner[1].isdecimal():
        process = int(owner[1])
        return partial.absolute() in _own if process == os.getpid() else _lives(process)
    try:
        return time.time() - partial.stat().st_mtime < _ABANDONED
    except OSError:
        return True  # it has just been renamed or removed


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # a process of another user
        return True
    return True


def check_output_file(file: Path, *, overwrite: bool) -> None:
    """Check that a file can be written, before any work starts.

    Raises
    ------
    ValueError
        If its folder does not exist or cannot be written to, it is a folder itself, or it exists
        and ``overwrite`` is false.
    """
    check_writable_folder(file)
    if file.is_dir():
        raise ValueError(f"{file}: is a folder")
    if file.exists() and not overwrite:
        raise ValueError(f"{file}: exists already; choose another name or use --overwrite")


def holds_results(folder: Path, note: str, what: str) -> bool:
    """Check that a folder can take results: it can be made, is empty, or holds earlier results.

    Parameters
    ----------
    folder : Path
        Folder for the results.
    note : str
        Name of a file that marks a folder of earlier results.
    what : str
        Name of the results in the error message.

    Returns
    -------
    bool
        True if there are earlier results.

    Raises
    ------
    ValueError
        If the folder cannot be made, is a file, or holds something else.
    """
    if not folder.exists():
        check_writable_folder(folder)
        return False
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file, expected a folder")
    # A folder that another process has just started to fill holds only that process's temporary files.
    if all(file.name.startswith(_PREFIX) for file in folder.iterdir()):
        return False
    if not (folder / note).is_file():
        raise ValueError(f"{folder}: is not empty and holds no {what}; choose another folder")
    return True


def check_writable_folder(file: Path) -> None:
    """Raise ``ValueError`` unless the folder of ``file`` exists and can be written to."""
    folder = file.parent
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: cannot be written to")
