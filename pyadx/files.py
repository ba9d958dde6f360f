"""Writing files so that nothing is ever half-written."""

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Yield a temporary path beside every target; rename them all when the block ends well.

    An error or interruption inside the block leaves the targets as they were and removes what was
    written. The temporary names keep the targets' suffixes, by which some writers choose the format.
    """
    partial = [target.with_name(f".partial-{os.getpid()}-{target.name}") for target in targets]
    try:
        yield partial
        for written, target in zip(partial, targets, strict=True):
            os.replace(written, target)
    finally:
        for written in partial:
            written.unlink(missing_ok=True)


def remove_partial(target: Path) -> None:
    """Remove what a killed process left beside a target; no other process may be writing it now."""
    for left in target.parent.glob(f".partial-*-{glob.escape(target.name)}"):
        left.unlink(missing_ok=True)


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
    if not any(folder.iterdir()):
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
