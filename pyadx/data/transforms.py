"""Resample images to another grid with a transform of ITK, ANTs, fMRIPrep or FSL.

nitransforms reads the files and applies displacement fields. As in all these programs, a transform maps
points of the reference to points of the moving image.
"""

import re
import warnings
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.scans import Scan
from pyadx.data.transform_files import ITK_TEXT
from pyadx.extras import needed_for

_MOST_TEXT = 1 << 16  # maximum bytes of a file with one affine
_DEFLATE_LIMIT = 1032  # HDF5 also compresses with deflate, so a larger declared size is false
_LINEAR = ("AffineTransform", "MatrixOffsetTransformBase")  # twelve parameters and a centre
_FIELD = "DisplacementFieldTransform"
_EDGE = 1e-3  # voxels
_MEND = "write it as an affine (antsApplyTransforms -o Linear[FILE.mat]) or as a composite .h5"
_Grid = namedtuple("_Grid", "affine shape")


def check_nitransforms() -> None:
    """Raise ``ValueError`` if nitransforms is missing."""
    with needed_for("--transforms"):
        import nitransforms  # noqa: F401


def read_transform(path: Path, moving: Scan, reference: Scan) -> list[Any]:
    """Read one or several transforms with nitransforms; the first is applied to the reference first.

    Parameters
    ----------
    path : Path
        ITK: composite ``.h5`` of affines and displacement fields, affine ``.mat``, ``.txt`` or ``.tfm``.
        FSL: the four rows of an affine, which is relative to the grids of both images of FLIRT.
    moving, reference : Scan
        The images that the transform connects.

    Raises
    ------
    ValueError
        If it cannot be read or is of another kind. The message is one line and begins with the file's
        name.
    """
    check_nitransforms()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of references that are not set
            chain = _read(path, moving, reference)
    except np.linalg.LinAlgError:  # is also a ValueError
        raise ValueError(f"{path.name}: its affine is singular") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    except Exception as error:  # nitransforms, SciPy and h5py raise many kinds of errors for damaged files
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(f"{path.name}: cannot be read as a transform ({reason})") from None
    return chain


def _read(path: Path, moving: Scan, reference: Scan) -> list[Any]:
    from nitransforms import Affine, TransformChain
    from nitransforms.io.fsl import FSLLinearTransform

    if path.suffix.lower() == ".h5":
        _check_composite(path)
        return list(TransformChain.from_filename(path, fmt="itk").transforms)
    if path.stat().st_size > _MOST_TEXT:
        raise ValueError("is too large for an affine transform")
    data = path.read_bytes()
    if data.startswith(ITK_TEXT):
        _check_itk_text(data.decode("ascii", "replace"))
    elif _is_fsl(data):
        grids = {"moving": moving, "reference": reference}
        found = {name: _Grid(one.affine, one.data.shape) for name, one in grids.items()}
        return [Affine(FSLLinearTransform.from_filename(path).to_ras(**found))]
    elif path.suffix.lower() != ".mat":
        raise ValueError("is neither an ITK transform nor the four rows of an FSL affine")
    try:
        return [Affine.from_filename(path, fmt="itk")]
    except NotImplementedError:
        raise ValueError(f"is an ITK .mat, but not an affine; {_MEND}") from None


def _is_fsl(data: bytes) -> bool:
    rows = [line.split() for line in data.splitlines() if line.strip()]
    try:
        numbers = [[float(word) for word in row] for row in rows]
    except ValueError:
        return False
    if [len(row) for row in numbers] != [4, 4, 4, 4]:
        return False
    _check_finite(numbers)
    return True


def _check_finite(numbers: Any) -> None:
    if not np.isfinite(np.asarray(numbers, np.float64)).all():
        raise ValueError("its affine holds NaN or infinity")


def _check_itk_text(text: str) -> None:
    """Check an assumption of nitransforms: the file holds one affine transform."""
    kinds = re.findall(r"^\s*Transform:\s*(\S+)", text, re.M)
    if len(kinds) != 1:
        raise ValueError(f"holds {len(kinds)} transforms, expected one; {_MEND}")
    numbers = re.search(r"^\s*Parameters:(.*)$", text, re.M)
    if not kinds[0].startswith(_LINEAR) or numbers is None or len(numbers[1].split()) != 12:
        raise ValueError(f"is a {kinds[0]}, which nitransforms does not read; {_MEND}")
    _check_finite(numbers[1].split())


def _check_composite(path: Path) -> None:
    """Check kinds and sizes before reading; the file must not refer to other files."""
    import h5py

    with h5py.File(path, "r") as file:
        if not isinstance(file.get("TransformGroup", getlink=True), h5py.HardLink):
            raise ValueError("holds no ITK transform (TransformGroup)")
        group = file["TransformGroup"]
        names = list(group)
        # nitransforms reads the first as the composite, and the others in the order of their names.
        if not 2 <= len(names) <= 10 or names != [str(at) for at in range(len(names))]:
            raise ValueError(f"holds no composite of one to nine transforms; {_MEND}")
        for name in names[1:]:
            _check_part(group, name, path.stat().st_size * _DEFLATE_LIMIT)


def _check_part(group: Any, name: str, most: int) -> None:
    import h5py

    links = [group.get(name, getlink=True)]
    if isinstance(links[0], h5py.HardLink):
        links += [group[name].get(key, getlink=True) for key in group[name]]
    if not all(isinstance(link, h5py.HardLink) for link in links):
        raise ValueError("names other files, which are not read")
    parts = {key.replace("Tranform", "Transform"): group[name][key] for key in group[name]}
    if any(one.is_virtual or one.external for one in parts.values()):
        raise ValueError("names other files, which are not read")
    if sum(one.size * one.dtype.itemsize for one in parts.values()) > most:
        raise ValueError("declares more numbers than the file can hold")
    kind = parts["TransformType"][0]
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    numbers, fixed = parts["TransformParameters"], parts["TransformFixedParameters"]
    if kind.startswith("AffineTransform"):
        if (numbers.shape, fixed.shape) != ((12,), (3,)):
            raise ValueError(f"its {kind} is not three-dimensional")
        _check_finite(numbers)
    elif kind.startswith(_FIELD):
        if fixed.shape != (18,) or numbers.size != 3 * int(np.prod(fixed[:3])):
            raise ValueError(f"its {kind} is not three-dimensional, or has another size than declared")
    else:
        raise ValueError(f"holds a {kind}, which nitransforms does not read; {_MEND}")


def resample(scan: Scan, chain: list[Any], reference: Scan) -> np.ndarray:
    """Return an image on the reference's voxels, interpolated linearly, 0 outside.

    Parameters
    ----------
    scan : Scan
        The moving image.
    chain : list
        See `read_transform`.
    reference : Scan
        Image that defines the voxels.

    Returns
    -------
    numpy.ndarray
        float32 ``[I, J, K]``.
    """
    from scipy import ndimage

    shape = reference.data.shape
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    places = _applied(reference.affine, voxels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of references that are not set
        for one in chain:
            matrix = getattr(one, "matrix", None)
            places = _displaced(one, places) if matrix is None else _applied(matrix, places)
    at = _applied(np.linalg.inv(scan.affine), places)
    # Values fall to 0 within one voxel beyond the last voxel. With a hard edge, rounding would decide
    # about voxels on the edge.
    found = ndimage.map_coordinates(scan.data, at.T, np.float32, order=1, mode="grid-constant", cval=0.0)
    return np.asarray(found).reshape(shape)


def _applied(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def _displaced(field: Any, points: np.ndarray) -> np.ndarray:
    """Move points by a field; points outside the field do not move, as in ITK.

    Only points inside are passed to nitransforms, because it uses positions as indices, and negative
    indices count from the other end.
    """
    at = _applied(field.reference.inverse, points)
    inside = ((at > -_EDGE) & (at < np.array(field.reference.shape) - 1 + _EDGE)).all(1)
    found = points.copy()
    if inside.any():
        found[inside] = field.map(points[inside])
    return found
