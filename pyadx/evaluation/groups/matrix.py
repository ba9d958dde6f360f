"""Maps of all subjects as rows of one file, read a block of voxels at a time."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class MapMatrix:
    """A float32 file of ``[subjects, voxels]``, so that permutations need no memory for all of it.

    Attributes
    ----------
    path : Path
        The file, as `numpy.lib.format` has it.
    """

    path: Path

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], subjects: int, voxels: int, *, keep: bool = False
    ) -> "MapMatrix":
        """Make a file of zeros.

        Parameters
        ----------
        path : path
            The file.
        subjects, voxels : int
            Rows and columns.
        keep : bool
            Whether to go on with a file of these rows and columns that is there already.

        Raises
        ------
        OSError
            If the disk has no room for all of it.
        """
        if not (keep and _is_of(Path(path), (subjects, voxels))):
            np.lib.format.open_memmap(path, "w+", np.float32, (subjects, voxels)).flush()
        if hasattr(os, "posix_fallocate"):  # a mapped file that finds no room later ends the process
            with Path(path).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, Path(path).stat().st_size)
        return cls(Path(path))

    @classmethod
    def of(cls, path: str | os.PathLike[str], values: np.ndarray) -> "MapMatrix":
        """Write an array of ``[subjects, voxels]`` into a file."""
        np.save(path, np.asarray(values, np.float32))
        return cls(Path(path))

    @property
    def shape(self) -> tuple[int, int]:
        """Subjects and voxels."""
        found = np.load(self.path, mmap_mode="r").shape
        return int(found[0]), int(found[1])

    def write(self, row: int, values: np.ndarray) -> int:
        """Write one subject's map ``[voxels]``; return its check sum.

        Processes may write different rows at a time.
        """
        matrix = np.load(self.path, mmap_mode="r+")
        matrix[row] = values
        matrix.flush()
        return zlib.crc32(matrix[row])

    def check_of(self, row: int) -> int:
        """Return the check sum (CRC-32) of a subject's map as it stands in the file."""
        return zlib.crc32(np.load(self.path, mmap_mode="r")[row])

    def block(self, start: int, stop: int) -> np.ndarray:
        """Return voxels ``start`` to ``stop`` of every subject, float64 ``[subjects, stop - start]``."""
        return np.load(self.path, mmap_mode="r")[:, start:stop].astype(np.float64)

    def blocks(self, voxels: int) -> Iterator[tuple[int, int]]:
        """Yield first and last (exclusive) voxel of blocks of at most so many voxels."""
        total = self.shape[1]
        for start in range(0, total, voxels):
            yield start, min(total, start + voxels)


def _is_of(path: Path, shape: tuple[int, int]) -> bool:
    try:
        held = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # missing, cut off, damaged
        return False
    return bool(held.shape == shape and held.dtype == np.float32 and held.flags.c_contiguous)
