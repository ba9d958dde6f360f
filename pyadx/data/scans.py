"""Read brain scans. Every error of a file is one line."""

import os
import warnings
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.file_kinds import SUFFIXES, scan_suffix
from pyadx.data.flatness import refuse_flat
from pyadx.data.geometry import Geometry, scan_geometry, shear_note, spans_space
from pyadx.data.scan_files import OpenedScan, files_of, opened

# gzip compresses by at most this factor, so a header that declares more is false.
_GZIP_LIMIT = 1032
_MAX_VOXELS = 1 << 31
_PLAUSIBLE_MM = (0.1, 20.0)
_MM = ("mm", "unknown")
_SAME_PLACE = 1e-3  # tolerance of affines, mm
_MOST_CHANNELS = 4  # a first axis this short, and shorter than the others, holds channels


@dataclass(frozen=True)
class Scan:
    """A 3D scan in the voxels of its file.

    Attributes
    ----------
    path : Path
        File of the scan.
    image : nibabel.spatialimages.SpatialImage
        Image with the header; three-dimensional.
    data : numpy.ndarray
        float32 ``[I, J, K]`` in the file's own axis order, scaled by the header's slope and intercept.
    geometry : Geometry, optional
        Position of the scan, and the source of that position; by default the image's affine.
    """

    path: Path
    image: Any
    data: np.ndarray
    geometry: Geometry | None = None

    @property
    def affine(self) -> np.ndarray:
        """Voxel-to-world matrix, 4x4, mm, RAS+ world."""
        held = self.image.affine if self.geometry is None else self.geometry.affine
        return np.asarray(held, dtype=np.float64)

    def __repr__(self) -> str:
        size = " x ".join(f"{mm:.3g}" for mm in np.linalg.norm(self.affine[:3, :3], axis=0))
        shape = "x".join(map(str, self.data.shape))
        return f"Scan({self.path.name}, {shape} voxels of {size} mm)"

    @property
    def notes(self) -> tuple[str, ...]:
        """Doubts about its header, one per line, with figures."""
        return () if self.geometry is None else self.geometry.notes

    def lies_on(self, other: "Scan") -> bool:
        """Return whether its voxels are those of another scan: equal shape, and one of its affines."""
        affines = [self.affine]
        if self.geometry is not None:
            affines += [self.geometry.sform.affine, self.geometry.qform.affine]
        placed = any(np.allclose(affine, other.affine, atol=_SAME_PLACE) for affine in affines)
        return placed and self.data.shape == other.data.shape


def read_scan(path: str | os.PathLike[str], *, orientation: str = "auto") -> Scan:
    """Read a 3D scan and check that a network can use it.

    Parameters
    ----------
    path : path
        NIfTI-1 or NIfTI-2 (``.nii``, ``.nii.gz``), FreeSurfer (``.mgz``, ``.mgh``) or Analyze
        (``.hdr`` / ``.img``), in any case, compressed or not. A fourth axis of length one is dropped.
    orientation : {"auto", "sform", "qform"}
        Affine of a NIfTI header to use. ``auto`` uses the sform if its code is above 0, otherwise the
        qform. If the header is doubtful (the two disagree, no space is named, voxel sizes of 0), a
        ``UserWarning`` reports the problem and the affine that is used; `Scan.notes` keeps the text.

    Returns
    -------
    Scan
        Header, affine and float32 data.

    Raises
    ------
    ValueError
        If the file is missing, of an unknown kind, truncated or damaged; if it is not one 3D volume of
        real numbers, is empty, constant, or holds NaN or infinity; if its affine or units are unusable.
        The message is one line and begins with the file.
    """
    scan = _read(Path(path), orientation)
    refuse_flat(scan.path, scan.data, "scan")
    assert scan.geometry is not None
    note = shear_note(scan.affine)
    if note:
        geometry = replace(scan.geometry, notes=(*scan.notes, note))
        scan = replace(scan, geometry=geometry)
    _warn(scan)
    return scan


def read_volume(path: str | os.PathLike[str], *, orientation: str = "auto") -> Scan:
    """Read a heatmap, mask or label volume, like `read_scan`; all voxels may be equal.

    Raises
    ------
    ValueError
        As `read_scan`.
    """
    scan = _read(Path(path), orientation)
    _warn(scan)
    return scan


def _warn(scan: Scan) -> None:
    for note in scan.notes:
        warnings.warn(f"{scan.path}: {note}", UserWarning, stacklevel=3)


def _read(source: Path, orientation: str) -> Scan:
    _check_file(source)
    with ExitStack() as stack:
        file = _open(source, stack)
        image = file.image
        _check_header(source, file)
        _check_units(source, image.header)
        try:
            geometry = scan_geometry(file, orientation)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        _check_affine(source, geometry.affine)
        data = _read_data(source, image)
        if image.ndim > 3:
            image, data = image.slicer[(..., *(0,) * (image.ndim - 3))], data.reshape(data.shape[:3])
    _check_values(source, data)
    return Scan(source, image, data, geometry)


def _check_file(source: Path) -> None:
    if not source.exists():
        raise ValueError(f"{source}: no such file")
    if source.is_dir():
        raise ValueError(f"{source}: is a folder, expected a scan file")
    if not scan_suffix(source):
        raise ValueError(f"{source}: unknown kind of file; scans end in {', '.join(SUFFIXES)}")
    if source.stat().st_size == 0:
        raise ValueError(f"{source}: the file is empty (0 bytes)")


def _open(source: Path, stack: ExitStack) -> OpenedScan:
    files = files_of(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", RuntimeWarning
            )  # warnings about numbers in headers; these are checked below
            file = stack.enter_context(opened(files))
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{source}: truncated or damaged ({_reason(error)})") from None
    except Exception as error:  # nibabel and decompressors raise many kinds of errors for damaged headers
        raise ValueError(f"{source}: cannot be read as a scan ({_reason(error)})") from None
    if not hasattr(file.image, "affine") or not hasattr(file.image, "dataobj"):
        raise ValueError(f"{source}: is a {type(file.image).__name__}, not a volume")
    return file


def _check_header(source: Path, file: OpenedScan) -> None:
    image = file.image
    shape = tuple(int(n) for n in image.shape)
    if len(shape) < 3:
        raise ValueError(f"{source}: has {len(shape)} axes {shape}, expected a 3D volume")
    if min(shape) < 1:
        raise ValueError(f"{source}: the volume is empty, shape {shape}")
    if int(np.prod(shape[3:], dtype=object)) > 1:
        raise ValueError(f"{source}: {_several_volumes(shape)}")
    voxels = int(np.prod(shape, dtype=object))
    dtype = image.get_data_dtype()
    if voxels > _MAX_VOXELS:
        raise ValueError(f"{source}: its header declares {voxels:,} voxels, more than {_MAX_VOXELS:,}")
    if dtype.fields is not None or dtype.kind not in "iuf":
        raise ValueError(f"{source}: voxels are {dtype}, expected real numbers (not RGB or complex)")
    limit = file.voxel_file.stat().st_size * (_GZIP_LIMIT if file.compressed else 1)
    if voxels * dtype.itemsize > limit:
        raise ValueError(
            f"{source}: truncated, its header declares {voxels * dtype.itemsize:,} bytes of voxels, more "
            "than the file can hold"
        )


def _several_volumes(shape: tuple[int, ...]) -> str:
    """Return a hint how to extract one volume from an array with more than three axes."""
    channels = 0
    while len(shape) - channels > 3 and shape[channels] <= min(_MOST_CHANNELS, *shape[channels + 1 :][:3]):
        channels += 1
    rest = len(shape) - channels - 3
    if not channels:
        index = ", ".join(["...", *["0"] * rest])
        return (
            f"is a series of volumes, shape {shape}; extract one 3D volume first (for example nibabel's "
            f"image.slicer[{index}])"
        )
    index = ", ".join([*["0"] * channels, *(["...", *["0"] * rest] if rest else [])])
    return (
        f"has shape {shape}: its first axis looks like channels, but in NIfTI space comes first; extract "
        f"the volume with image.dataobj[{index}], and save it with the affine of its original scan"
    )


def _check_units(source: Path, header: Any) -> None:
    if hasattr(header, "get_xyzt_units"):
        try:
            unit = header.get_xyzt_units()[0]
        except KeyError:
            unit = "invalid"
        if unit not in _MM:
            raise ValueError(
                f"{source}: its voxel sizes are in {unit}s, expected mm; correct the header with nibabel's "
                "set_xyzt_units"
            )


def _check_affine(source: Path, affine: np.ndarray) -> None:
    if not np.isfinite(affine).all():
        raise ValueError(f"{source}: its affine holds NaN or infinity")
    if not spans_space(affine):
        raise ValueError(f"{source}: its affine is singular")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes.min() < _PLAUSIBLE_MM[0] or sizes.max() > _PLAUSIBLE_MM[1]:
        text = " x ".join(f"{s:.4g}" for s in sizes)
        raise ValueError(
            f"{source}: voxel size {text} mm is not that of a brain scan "
            f"({_PLAUSIBLE_MM[0]} to {_PLAUSIBLE_MM[1]} mm); is the header in other units?"
        )


def _read_data(source: Path, image: Any) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NaN and overflow raise their own errors below
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


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:160] if text else type(error).__name__
