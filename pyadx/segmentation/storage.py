"""Hierarchies in files: plain arrays, checked when they are read because anybody may have written them."""

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.files import replacing
from pyadx.npz import npz_headers

_FORMAT = 1
ARRAYS = {"leaves": "i4", "parent": "i4", "altitude": "f8", "area": "i8", "levels": "i8"}


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays of a hierarchy to an ``.npz`` file.

    The file is written under a temporary name and then renamed.

    Parameters
    ----------
    path : path
        File to write, ending in ``.npz``.
    arrays : mapping
        An array for each name in `ARRAYS`.

    Raises
    ------
    ValueError
        If the name does not end in ``.npz``.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"{target}: a hierarchy is written as .npz")
    stored: dict[str, Any] = {name: arrays[name].astype(kind) for name, kind in ARRAYS.items()}
    with replacing(target) as (partial,):
        np.savez_compressed(partial, format=np.array(_FORMAT), **stored)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of a hierarchy.

    Nothing in the file is executed, and its headers are checked before memory is allocated.

    Parameters
    ----------
    path : path
        A file of `save_arrays`.

    Returns
    -------
    dict
        The arrays of `ARRAYS` by name.

    Raises
    ------
    ValueError
        If the file is missing or damaged, is of another format version, or lacks an array of the expected
        type and number of axes.
    """
    source = Path(path)
    try:
        headers = npz_headers(source)
        for name, kind in ARRAYS.items():
            if name not in headers or headers[name][1].kind != kind[0]:
                raise ValueError(
                    f"{source}: cannot be read as a hierarchy (it has no {name!r} of the expected type)"
                )
        with np.load(source, allow_pickle=False) as file:
            if "format" not in file or file["format"].size != 1 or int(file["format"]) != _FORMAT:
                raise ValueError(
                    f"{source}: cannot be read as a hierarchy (it is not of format version {_FORMAT})"
                )
            found = {name: file[name] for name in ARRAYS}
    except (OSError, KeyError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{source}: cannot be read as a hierarchy ({error})") from None
    flat = all(found[name].ndim == 1 for name in ("parent", "altitude", "area", "levels"))
    if not flat or found["leaves"].ndim != 3 or not found["leaves"].size:
        raise ValueError(
            f"{source}: cannot be read as a hierarchy ('leaves' must be [D, H, W], the other arrays must "
            "have one axis)"
        )
    return found


def save_labels(path: str | os.PathLike[str], labels: np.ndarray, affine: np.ndarray) -> None:
    """Write label volumes to one NIfTI file.

    Parameters
    ----------
    path : path
        File to write, ending in ``.nii`` or ``.nii.gz``.
    labels : ndarray
        ``[D, H, W, L]``, of an integer type.
    affine : ndarray
        ``[4, 4]``, voxel indices to world coordinates in mm.

    Raises
    ------
    ValueError
        If the name has another ending.
    """
    import nibabel as nib

    target = Path(path)
    if not target.name.lower().endswith((".nii", ".nii.gz")):
        raise ValueError(f"{target}: label volumes are written as .nii.gz or .nii")
    image = nib.Nifti1Image(labels, affine)
    image.header.set_xyzt_units("mm")
    image.header.set_intent("label")
    with replacing(target) as (partial,):
        nib.save(image, partial)
