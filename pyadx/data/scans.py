"""Reading brain scans, with every way a file can be wrong told in one line."""

import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.file_kinds import SUFFIXES, scan_suffix

# gzip cannot shrink anything by more than this, so a larger claim in a header is false.
_GZIP_LIMIT = 1032
_MAX_VOXELS = 1 << 31
_PLAUSIBLE_MM = (0.1, 20.0)
_MM = ("mm", "unknown")


@dataclass(frozen=True)
class Scan:
    """A 3D scan as its file holds it.

    Attributes
    ----------
    path : Path
        Where it was read from.
    image : nibabel.spatialimages.SpatialImage
        Header and affine; three-dimensional.
    data : numpy.ndarray
        float32 ``[I, J, K]`` in the file's own axis order, scaled by the header's slope and intercept.
    """

    path: Path
    image: Any
    data: np.ndarray

    @property
    def affine(self) -> np.ndarray:
        """Voxel-to-world matrix, 4x4, mm, RAS+ world."""
        return np.asarray(self.image.affine, dtype=np.float64)


def read_scan(path: str | os.PathLike[str]) -> Scan:
    """Read a 3D scan and check that a network can use it.

    Parameters
    ----------
    path : path
        NIfTI-1 or NIfTI-2 (``.nii``, ``.nii.gz``), FreeSurfer (``.mgz``, ``.mgh``) or Analyze
        (``.hdr`` / ``.img``). A fourth axis of length one is dropped.

    Returns
    -------
    Scan
        Image and float32 data.

    Raises
    ------
    ValueError
        If the file is missing, of an unknown kind, truncated or damaged; if it is not one 3D volume of
        real numbers, is empty, constant, or holds NaN or infinity; if its affine or units are unusable.
        One line, beginning with the file.
    """
    source = Path(path)
    image = _open(source)
    _check_header(source, image)
    data = _read_data(source, image)
    if image.ndim > 3:
        image, data = image.slicer[(..., *(0,) * (image.ndim - 3))], data.reshape(data.shape[:3])
    _check_values(source, data)
    return Scan(source, image, data)


def _open(source: Path) -> Any:
    import nibabel as nib

    if not source.exists():
        raise ValueError(f"{source}: no such file")
    if source.is_dir():
        raise ValueError(f"{source}: is a folder, expected a scan file")
    if not scan_suffix(source):
        raise ValueError(f"{source}: unknown kind of file; scans end in {', '.join(SUFFIXES)}")
    if source.stat().st_size == 0:
        raise ValueError(f"{source}: the file is empty (0 bytes)")
    try:
        image: Any = nib.load(source)
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{source}: truncated or damaged ({_reason(error)})") from None
    except Exception as error:  # nibabel and the decompressors raise many kinds for damaged headers
        raise ValueError(f"{source}: cannot be read as a scan ({_reason(error)})") from None
    if not hasattr(image, "affine") or not hasattr(image, "dataobj"):
        raise ValueError(f"{source}: is a {type(image).__name__}, not a volume")
    return image


def _check_header(source: Path, image: Any) -> None:
    shape = tuple(int(n) for n in image.shape)
    if len(shape) < 3:
        raise ValueError(f"{source}: has {len(shape)} axes {shape}, expected a 3D volume")
    if min(shape) < 1:
        raise ValueError(f"{source}: the volume is empty, shape {shape}")
    if int(np.prod(shape[3:])) > 1:
        raise ValueError(
            f"{source}: is a series of volumes, shape {shape}; extract one 3D volume first "
            "(for example nibabel's image.slicer[..., 0])"
        )
    voxels = int(np.prod(shape, dtype=object))
    dtype = image.get_data_dtype()
    if voxels > _MAX_VOXELS:
        raise ValueError(f"{source}: its header declares {voxels:,} voxels, more than {_MAX_VOXELS:,}")
    if dtype.fields is not None or dtype.kind not in "iuf":
        raise ValueError(f"{source}: voxels are {dtype}, expected real numbers (not RGB or complex)")
    stored = Path(image.file_map["image"].filename or source)
    if not stored.exists():
        raise ValueError(f"{source}: its voxel file {stored.name} is missing")
    limit = stored.stat().st_size
    if stored.suffix in (".gz", ".mgz"):
        limit *= _GZIP_LIMIT
    if voxels * dtype.itemsize > limit:
        raise ValueError(
            f"{source}: truncated, its header declares {voxels * dtype.itemsize:,} bytes of voxels, more "
            "than the file can hold"
        )
    _check_geometry(source, image)


def _check_geometry(source: Path, image: Any) -> None:
    header = image.header
    if hasattr(header, "get_xyzt_units"):
        try:
            unit = header.get_xyzt_units()[0]
        except KeyError:
            unit = "invalid"
        if unit not in _MM:
            raise ValueError(
                f"{source}: its voxel sizes are in {unit}s, expected mm; mend the header with nibabel's "
                "set_xyzt_units"
            )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all():
        raise ValueError(f"{source}: its affine holds NaN or infinity")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if (sizes == 0).any() or abs(np.linalg.det(affine[:3, :3])) < 1e-3 * np.prod(sizes):
        raise ValueError(f"{source}: its affine is singular; the axes do not span space")
    if sizes.min() < _PLAUSIBLE_MM[0] or sizes.max() > _PLAUSIBLE_MM[1]:
        text = " x ".join(f"{s:.4g}" for s in sizes)
        raise ValueError(
            f"{source}: voxel size {text} mm is not that of a brain scan "
            f"({_PLAUSIBLE_MM[0]} to {_PLAUSIBLE_MM[1]} mm); is the header in other units?"
        )


def _read_data(source: Path, image: Any) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NaN and overflow get their own words below
            return np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{source}: truncated or damaged voxel data ({_reason(error)})") from None
    except MemoryError:
        raise ValueError(f"{source}: its {image.shape} voxels do not fit into memory") from None


def _check_values(source: Path, data: np.ndarray) -> None:
    bad = int(data.size - np.count_nonzero(np.isfinite(data)))
    if bad:
        raise ValueError(
            f"{source}: {bad:,} of {data.size:,} voxels are NaN or infinite; replace them "
            "(for example with numpy.nan_to_num) and save the scan again"
        )
    if data.min() == data.max():
        raise ValueError(f"{source}: every voxel is {data.flat[0]:g}; it holds nothing")


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:160] if text else type(error).__name__
