"""The headers of an ``.npz`` file, read and checked before any array is allocated."""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

# Deflate compresses by at most this factor, so a header that declares more is false.
_DEFLATE_LIMIT = 1032


Headers = dict[str, tuple[tuple[int, ...], np.dtype]]


def npz_headers(path: str | os.PathLike[str]) -> Headers:
    """Return the shape and dtype of every array.

    Raises
    ------
    ValueError
        If the file is missing, is not an ``.npz`` file, holds pickled objects, or declares more bytes
        in a header than it can hold.
    """
    source = Path(path)
    if not source.is_file():
        raise ValueError(f"{source}: no such file")
    found: Headers = {}
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as file:
                    found[name] = _header(source, name, file)
                shape, dtype = found[name]
                declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if min(shape, default=0) < 0 or declared > _DEFLATE_LIMIT * source.stat().st_size:
                    raise ValueError(
                        f"{source}: {name} declares {declared:,} bytes, more than the file can hold"
                    )
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{source}: is not an .npz file ({error})") from None
    return found


def _header(source: Path, name: str, file: object) -> tuple[tuple[int, ...], np.dtype]:
    try:
        version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)  # type: ignore[arg-type]
    except (ValueError, TypeError, SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: {name} is damaged ({error})") from None
    if dtype.hasobject:
        raise ValueError(f"{source}: {name} holds pickled objects, which are not read")
    return shape, dtype
