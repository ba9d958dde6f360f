"""The maps of all subjects in one file, one row each, read in blocks of voxels."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class MapMatrix:
    """A float32 array ``[subjects, voxels]`` in a file, so that permutation tests never load all of it.

    Attributes
    ----------
    path : Path
        The file, in NumPy's ``.npy`` format.
    """

    path: Path

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], subjects: int, voxels: int, *, keep: bool = False
    ) -> "MapMatrix":
        """Create a file of zeros.

        Parameters
        ----------
        path : path
            The file.
        subjects, voxels : int
            Numbers of rows and columns.
        keep : bool
            Keep the content of an existing file if it has this shape.

        Raises
        ------
        OSError
            If the disk has too little free space for the whole file.
        """
        if not (keep and _is_of(Path(path), (subjects, voxels))):
            np.lib.format.open_memmap(path, "w+", np.float32, (subjects, voxels)).flush()
        if hasattr(os, "posix_fallocate"):  # else a full disk kills the process at a later write
            with Path(path).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, Path(path).stat().st_size)
        return cls(Path(path))

    @classmethod
    def of(cls, path: str | os.PathLike[str], values: np.ndarray) -> "MapMatrix":
        """Write an array ``[subjects, voxels]`` to a file, as float32."""
        np.save(path, np.asarray(values, np.float32))
        return cls(Path(path))

    @property
    def shape(self) -> tuple[int, int]:
        """Subjects and voxels."""
        found = np.load(self.path, mmap_mode="r").shape
        return int(found[0]), int(found[1])

    def write(self, row: int, values: np.ndarray) -> int:
        """Write one subject's map ``[voxels]``; return its checksum (CRC-32).

        Several processes may write different rows at the same time.
        """
        matrix = np.load(self.path, mmap_mode="r+")
        matrix[row] = values
        matrix.flush()
        return zlib.crc32(matrix[row])

    def check_of(self, row: int) -> int:
        """Return the checksum (CRC-32) of a subject's map as the file holds it."""
        return zlib.crc32(np.load(self.path, mmap_mode="r")[row])

    def block(self, start: int, stop: int) -> np.ndarray:
        """Return voxels ``start`` to ``stop - 1`` of all subjects, float64 ``[subjects, stop - start]``."""
        return np.load(self.path, mmap_mode="r")[:, start:stop].astype(np.float64)

    def blocks(self, voxels: int) -> Iterator[tuple[int, int]]:
        """Yield start and stop (exclusive) of consecutive blocks of at most ``voxels`` voxels."""
        total = self.shape[1]
        for start in range(0, total, voxels):
            yield start, min(total, start + voxels)


def _is_of(path: Path, shape: tuple[int, int]) -> bool:
    try:
        held = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # missing, cut off, damaged
        return False
    return bool(held.shape == shape and held.dtype == np.float32 and held.flags.c_contiguous)
