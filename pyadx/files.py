"""Writing files so that nothing is ever half-written."""

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
_ABANDONED = 24 * 3600.0  # seconds without a change: nobody on any host is writing such a file any more

_Renames = list[tuple[Path, Path]]
_waiting: ContextVar[_Renames | None] = ContextVar("_waiting", default=None)
_own: set[Path] = set()  # temporary files that this process is about to write or rename


@contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Yield a temporary path beside every target; rename them all when the block ends well.

    An error or interruption inside the block leaves the targets as they were and removes what was
    written. The temporary names keep the targets' suffixes, by which some writers choose the format.
    Inside `together` the renames wait for the end of the outer block.
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
    """Make all that is written inside the block with `replacing` appear at its end, or none of it.

    What one writer has written cannot be read inside the block. Threads that are started inside are not
    part of it. A block inside another one belongs to that.
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
    """Rename all or none: until the last rename a second name keeps every file that is replaced."""
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
            elif not written.exists():  # it was renamed, and there was nothing before it
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
    """Return a name beside a target that no other process on any host takes; see `remove_partial`."""
    name = target.with_name(f"{_PREFIX}-{_here()}-{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
    _own.add(name.absolute())
    return name


def _here() -> str:
    """Name this host, since it was started, and what counts processes on it: a container has its own."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def remove_partial(target: Path) -> None:
    """Remove what killed processes left beside a target.

    A file stays while the process that its name tells of lives on this host. What a process of another
    host left stays until nobody has written to it for a day.
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
    except OSError:  # somebody else's
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
    """Check that a folder can take results: it can be made, is empty, or holds earlier ones.

    Parameters
    ----------
    folder : Path
        For the results.
    note : str
        Name of the file by which earlier results are known.
    what : str
        What they are called, for the message.

    Returns
    -------
    bool
        Whether there are earlier results.

    Raises
    ------
    ValueError
        If it cannot be made, is a file, or holds something else.
    """
    if not folder.exists():
        check_writable_folder(folder)
        return False
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file, expected a folder")
    # One that another process has just begun holds nothing but its temporary files.
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
