"""Open scan files by their contents, independent of case and of wrong suffixes."""

import gzip
import io
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from pyadx.data.file_kinds import COMPRESSED, scan_suffix

_GZIP = b"\x1f\x8b"
_BLOCK = 1024  # bytes; longer than any header
_PAIR = {".hdr": ".img", ".img": ".hdr"}


@dataclass(frozen=True, eq=False)
class OpenedScan:
    """An open scan file.

    Attributes
    ----------
    image : nibabel image
        The image; its voxels have not been read yet.
    block : bytes
        The first bytes of the header as stored, because nibabel corrects some fields when it reads them.
    voxel_file : Path
        The file that holds the voxels.
    compressed : bool
        True if that file is compressed.
    has_matrix : bool
        True if SPM's ``.mat`` file is beside it.
    """

    image: Any
    block: bytes
    voxel_file: Path
    compressed: bool
    has_matrix: bool


@contextmanager
def opened(files: dict[str, Path]) -> Iterator[OpenedScan]:
    """Open a scan with nibabel; its voxels can be read inside the block.

    Parameters
    ----------
    files : dict
        Result of `files_of`.

    Yields
    ------
    OpenedScan
        The open scan.

    Raises
    ------
    OSError, EOFError, zlib.error, nibabel's errors
        If the file is damaged.
    """
    import nibabel as nib

    block = _first_bytes(files["header"])
    with ExitStack() as stack, _nothing_logged():
        image = nib.load(files["header"]) if _ordinary(files) else _by_content(files, block, stack)
        yield OpenedScan(image, block, files["image"], holds_gzip(files["image"]), "mat" in files)


@contextmanager
def _nothing_logged() -> Iterator[None]:
    """Stop nibabel from logging corrections of a header; `pyadx.data.geometry` reports them."""
    from nibabel.imageglobals import logger

    logger.addFilter(_drop)
    try:
        yield
    finally:
        logger.removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return False


def holds_gzip(path: Path) -> bool:
    """Return whether a file is compressed, independent of its name."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _first_bytes(path: Path) -> bytes:
    with cast(BinaryIO, gzip.open(path) if holds_gzip(path) else path.open("rb")) as file:
        return file.read(_BLOCK)


def files_of(source: Path) -> dict[str, Path]:
    """Return the files of a scan by nibabel's keys: ``image``, ``header`` and, if present, ``mat``.

    Parameters
    ----------
    source : Path
        An existing file with a suffix of `pyadx.data.file_kinds`.

    Raises
    ------
    ValueError
        If one file of a pair is missing.
    """
    suffix = scan_suffix(source)
    if suffix not in _PAIR:
        return {"image": source, "header": source}
    other = _sibling(source, _PAIR[suffix])
    header, image = (source, other) if suffix == ".hdr" else (other, source)
    if header is None:
        raise ValueError(f"{source}: its header file {source.stem}.hdr is missing")
    if image is None:
        raise ValueError(f"{source}: its voxel file {source.stem}.img is missing")
    files = {"image": image, "header": header}
    matrix = _sibling(source, ".mat")
    return files if matrix is None else {**files, "mat": matrix}


def _sibling(source: Path, suffix: str) -> Path | None:
    """Return the file of the same name with another suffix, in any case."""
    same = source.with_suffix(suffix.upper() if source.suffix.isupper() else suffix)
    if same.exists():
        return same
    stem, wanted = source.stem, suffix.lower()
    found = (file for file in source.parent.iterdir() if file.suffix.lower() == wanted)
    alike = sorted(file for file in found if file.stem.lower() == stem.lower())
    # A file whose stem differs in case is another file, unless it is the only candidate.
    exact = [file for file in alike if file.stem == stem]
    return next(iter(exact or alike), None)


def _ordinary(files: dict[str, Path]) -> bool:
    """Return whether nibabel can open the files by their names alone."""
    scans = (files["image"], files["header"])
    named = all(holds_gzip(file) == (scan_suffix(file) in COMPRESSED) for file in scans)
    suffixes = [file.name[-len(scan_suffix(file) or file.suffix) :] for file in files.values()]
    alike = all(s.islower() for s in suffixes) or all(s.isupper() for s in suffixes)
    return named and alike and len({file.stem for file in files.values()}) == 1


def _by_content(files: dict[str, Path], block: bytes, stack: ExitStack) -> Any:
    """Open files whose names do not match their contents."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.fileholders import FileHolder
    from nibabel.imageclasses import all_image_classes

    suffix = scan_suffix(files["header"])
    plain = {".nii.gz": ".nii", ".mgz": ".mgh"}.get(suffix, suffix)
    for kind in all_image_classes:
        # nibabel identifies the kind by this name and the first bytes.
        if kind.path_maybe_image(f"scan{plain}", (block, f"scan{plain}"))[0]:
            break
    else:
        raise ImageFileError("the header is of an unknown kind")
    holders = {}
    for role in kind.make_file_map():
        path = files.get(role)
        stream = io.BytesIO() if path is None else _stream(path)
        holders[role] = FileHolder(fileobj=stack.enter_context(stream))
    return kind.from_file_map(holders)


def _stream(path: Path) -> Any:
    return gzip.open(path) if holds_gzip(path) else path.open("rb")
