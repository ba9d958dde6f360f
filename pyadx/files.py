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


def check_writable_folder(file: Path) -> None:
    """Raise ``ValueError`` unless the folder of ``file`` exists and can be written to."""
    folder = file.parent
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: cannot be written to")
