"""Hierarchies in files."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyadx.files import replacing
from pyadx.npz import npz_headers

if TYPE_CHECKING:
    from pyadx.segmentation.hierarchy import Hierarchy

_FORMAT = 1
_ARRAYS = {"leaves": "i4", "parent": "i4", "altitude": "f8", "area": "i8", "levels": "i8"}


def save(hierarchy: "Hierarchy", path: str | os.PathLike[str]) -> None:
    """Write a hierarchy into an ``.npz`` file, beside it first and then renamed.

    Raises
    ------
    ValueError
        If the name does not end in ``.npz``.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"{target}: a hierarchy is written as .npz")
    arrays = {name: getattr(hierarchy, name).astype(kind) for name, kind in _ARRAYS.items()}
    with replacing(target) as (partial,):
        np.savez_compressed(partial, format=np.array(_FORMAT), **arrays)


def load(path: str | os.PathLike[str]) -> "Hierarchy":
    """Read a hierarchy that `Hierarchy.save` wrote.

    Raises
    ------
    ValueError
        If the file is missing, is not a hierarchy, or its arrays contradict each other. Nothing in the
        file is executed.
    """
    from pyadx.segmentation.tree import make_hierarchy

    source = Path(path)
    try:
        headers = npz_headers(source)
        for name, kind in _ARRAYS.items():
            if name not in headers or headers[name][1].kind != kind[0]:
                raise ValueError(f"{source}: cannot be read as a hierarchy (no {name} in it)")
        with np.load(source, allow_pickle=False) as file:
            if "format" not in file or file["format"].size != 1 or int(file["format"]) != _FORMAT:
                raise ValueError(f"{source}: cannot be read as a hierarchy (not of this version)")
            found = {name: file[name] for name in _ARRAYS}
    except (OSError, KeyError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{source}: cannot be read as a hierarchy ({error})") from None
    flat = all(found[name].ndim == 1 for name in ("parent", "altitude", "area", "levels"))
    if not flat or found["leaves"].ndim != 3 or not found["leaves"].size:
        raise ValueError(f"{source}: cannot be read as a hierarchy (its arrays have other shapes)")
    count = (len(found["parent"]) + 1) // 2
    leaves, parent = found["leaves"], found["parent"].astype(np.int32)
    areas = np.bincount(leaves.reshape(-1).clip(0), minlength=count + 1)[1:].astype(np.int64)
    children = np.argsort(parent[:-1], kind="stable").reshape(-1, 2).astype(np.int32)
    consistent = (
        leaves.min() >= 0
        and leaves.max() == count
        and len(parent) == len(found["altitude"]) == len(found["area"]) == 2 * count - 1
        and np.array_equal(np.sort(parent[:-1]), np.repeat(np.arange(count, 2 * count - 1), 2))
        and found["altitude"].dtype == np.float64
        and (found["altitude"][count:][1:] >= found["altitude"][count:][:-1]).all()
        and len(found["levels"]) > 0
        and (areas > 0).all()
    )
    if not consistent:
        raise ValueError(f"{source}: cannot be read as a hierarchy (its arrays contradict each other)")
    try:
        regions = (leaves - 1).astype(np.int32)
        return make_hierarchy(regions, children, found["altitude"][count:], areas, found["levels"])
    except ValueError as error:
        raise ValueError(f"{source}: cannot be read as a hierarchy ({error})") from None


def label_stack(hierarchy: "Hierarchy") -> np.ndarray:
    """Return the label volumes of all levels, int16 or int32 ``[D, H, W, L]``, finest first."""
    kind = np.int16 if int(hierarchy.levels.max()) < 2**15 else np.int32
    return np.stack([hierarchy.labels(i).astype(kind) for i in range(len(hierarchy.levels))], -1)


def save_labels(hierarchy: "Hierarchy", path: str | os.PathLike[str], affine: np.ndarray) -> None:
    """Write the label volumes of all levels as one NIfTI file ``[D, H, W, L]``, finest first.

    Parameters
    ----------
    hierarchy : Hierarchy
        What to write.
    path : path
        ``.nii`` or ``.nii.gz``.
    affine : ndarray
        ``[4, 4]``: voxel to world, mm.

    Raises
    ------
    ValueError
        If the name has another ending.
    """
    import nibabel as nib

    target = Path(path)
    if not target.name.lower().endswith((".nii", ".nii.gz")):
        raise ValueError(f"{target}: label volumes are written as .nii.gz or .nii")
    image = nib.Nifti1Image(label_stack(hierarchy), affine)
    image.header.set_xyzt_units("mm")
    image.header.set_intent("label")
    with replacing(target) as (partial,):
        nib.save(image, partial)
