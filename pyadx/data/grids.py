"""Resample a scan to a network's grid, and a heatmap back to the scan."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyadx.data.geometry import KNOWN_CODES, Form, Geometry, shear_note
from pyadx.data.scans import Scan
from pyadx.models.card import ModelCard
from pyadx.short_reprs import short_repr

# Relative tolerance of voxel sizes. If they are equal, the scan is cropped or padded, not resampled.
_SAME_SIZE = 1e-3


@dataclass(frozen=True)
class FittedScan:
    """A scan on a network's grid.

    The grid has the scan's axes in canonical order: the order closest to RAS+, or to ``axes``. It has the
    same centre as the scan, to within half a voxel.

    Attributes
    ----------
    scan : Scan
        The scan as it was read.
    data : numpy.ndarray
        float32 ``[D, H, W]`` on the grid; zero outside the scan.
    affine : numpy.ndarray
        Voxel-to-world matrix of the grid.
    zoom : numpy.ndarray
        Grid voxel size over scan voxel size along each canonical axis.
    start : numpy.ndarray
        Canonical voxel coordinate of the grid's first voxel.
    kept : float
        Share of the scan's total absolute intensity that is on the grid; below 1 the grid cuts off
        part of the scan.
    axes : str
        Axis codes of the grid.
    """

    scan: Scan
    data: np.ndarray
    affine: np.ndarray
    zoom: np.ndarray
    start: np.ndarray
    kept: float
    axes: str = "RAS"

    __repr__ = short_repr

    @property
    def resampled(self) -> bool:
        """True if voxel sizes differ, so that values were interpolated."""
        return not np.array_equal(self.zoom, np.ones(3))


def fit_to_card(scan: Scan, card: ModelCard) -> FittedScan:
    """Resample a scan to the grid, voxel size and axes of a network; see `fit_to_grid`."""
    prepared = card.preprocessing
    return fit_to_grid(scan, card.in_shape, prepared.spacing, prepared.orientation)


def fit_to_grid(
    scan: Scan, shape: tuple[int, int, int], spacing: float | None, axes: str = "RAS"
) -> FittedScan:
    """Reorient a scan to canonical axes, and resample it to a shape and voxel size.

    Parameters
    ----------
    scan : Scan
        Any orientation, voxel size and shape.
    shape : tuple of int
        Shape of the grid.
    spacing : float or None
        Isotropic voxel size of the grid in mm; ``None`` keeps the scan's voxel size.
    axes : str
        Axis codes of the grid.

    Returns
    -------
    FittedScan
        If voxel sizes agree, the scan is cropped or padded about its centre, and its values are unchanged.
        Otherwise it is interpolated linearly.
    """
    import nibabel as nib
    from nibabel.orientations import apply_orientation
    from scipy import ndimage

    turned = _orientation(scan, axes)
    canonical = apply_orientation(scan.data, turned).astype(np.float32, copy=False)
    affine = scan.affine @ nib.orientations.inv_ornt_aff(turned, scan.data.shape)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    length = np.array(canonical.shape)
    zoom = np.ones(3) if spacing is None else spacing / sizes
    if np.allclose(zoom, 1.0, rtol=0, atol=_SAME_SIZE):
        zoom = np.ones(3)
        start = np.floor((length - np.array(shape)) / 2)
        data = _window(canonical, start.astype(int), shape)
        whole = np.abs(canonical).sum(dtype=np.float64)
        kept = float(np.abs(data).sum(dtype=np.float64) / whole)
    else:
        start = (length - 1) / 2 - zoom * (np.array(shape) - 1) / 2
        data = ndimage.affine_transform(
            canonical, zoom, offset=start, output_shape=shape, order=1, mode="grid-constant"
        )
        kept = _share_inside(canonical, start - zoom / 2, start + zoom * (np.array(shape) - 0.5))
    placed = affine @ nib.affines.from_matvec(np.diag(zoom), start)
    return FittedScan(scan, np.ascontiguousarray(data), placed, zoom, start, kept, axes)


def map_to_scan(heatmap: np.ndarray, fitted: FittedScan) -> np.ndarray:
    """Resample a heatmap from a network's grid to the voxels of the scan.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``[D, H, W]`` on the grid of ``fitted``.
    fitted : FittedScan
        The scan that was explained.

    Returns
    -------
    numpy.ndarray
        float32, in the scan's shape and axis order; zero at voxels outside the grid.
    """
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
    from scipy import ndimage

    length = _canonical_shape(fitted)
    if fitted.resampled:
        backwards = 1.0 / fitted.zoom
        data = ndimage.affine_transform(
            heatmap.astype(np.float32, copy=False),
            backwards,
            offset=-fitted.start * backwards,
            output_shape=length,
            order=1,
            mode="nearest",
        )
        for axis, n in enumerate(length):
            at = (np.arange(n) - fitted.start[axis]) * backwards[axis]
            outside = (at < -0.5) | (at > heatmap.shape[axis] - 0.5)
            data[(slice(None),) * axis + (outside,)] = 0
    else:
        data = _window(heatmap, -fitted.start.astype(int), length)
    back = ornt_transform(axcodes2ornt(fitted.axes), io_orientation(fitted.scan.affine))
    return np.ascontiguousarray(apply_orientation(data, back), dtype=np.float32)


def on_grid(fitted: FittedScan, data: np.ndarray | None = None) -> Scan:
    """Return values on a network's grid as a scan; by default the fitted scan's own values."""
    import nibabel as nib

    values = fitted.data if data is None else data
    image = nib.Nifti1Image(values, fitted.affine)
    held = fitted.scan.geometry
    if held is None:
        return Scan(fitted.scan.path, image, values)
    # The grid has the same world space as the scan's own voxels.
    code = (held.qform if held.source == "qform" else held.sform).code
    code = code if code in KNOWN_CODES and code else 2
    sform = Form("sform", code, fitted.affine)
    qform = Form("qform", 0 if shear_note(fitted.affine) else code, fitted.affine)
    placed = Geometry(fitted.affine, "network's grid", sform, qform, held.units)
    return Scan(fitted.scan.path, image, values, placed)


def resampled_onto(other: Scan, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resample a scan to other voxels by world coordinates.

    Parameters
    ----------
    other : Scan
        The scan to resample.
    affine : numpy.ndarray
        Voxel-to-world matrix, 4x4, of the target voxels.
    shape : tuple of int
        Shape of the target.

    Returns
    -------
    numpy.ndarray
        float32; the scan's own values if the voxels are the same, otherwise linearly interpolated values.
        0 outside the scan.
    """
    from scipy import ndimage

    back = np.linalg.inv(other.affine) @ affine
    if other.data.shape == shape and np.allclose(back, np.eye(4), atol=1e-4):
        return other.data
    found: np.ndarray = ndimage.affine_transform(
        other.data.astype(np.float32), back[:3, :3], back[:3, 3], shape, order=1, mode="constant"
    )
    return found


def canonical_axes(affine: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the reorientation of an array to canonical (RAS+) axes, and the new affine.

    Parameters
    ----------
    affine : numpy.ndarray
        Affine of the array, float64 ``[4, 4]``.
    shape : sequence of int
        Shape of the array.

    Returns
    -------
    turn : numpy.ndarray
        ``[3, 2]``, for nibabel's ``apply_orientation``.
    turned : numpy.ndarray
        Affine of the reoriented array, float64 ``[4, 4]``.
    """
    from nibabel.orientations import inv_ornt_aff, io_orientation

    turn = io_orientation(affine)
    return turn, affine @ inv_ornt_aff(turn, shape)


def _orientation(scan: Scan, axes: str) -> np.ndarray:
    """Return nibabel's orientation transform from a scan's axes to those of a grid."""
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    return ornt_transform(io_orientation(scan.affine), axcodes2ornt(axes))


def _canonical_shape(fitted: FittedScan) -> tuple[int, ...]:
    axes = _orientation(fitted.scan, fitted.axes)[:, 0].astype(int)
    shape = [0, 0, 0]
    for stored, canonical in enumerate(axes):
        shape[canonical] = fitted.scan.data.shape[stored]
    return tuple(shape)


def _window(data: np.ndarray, start: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cut ``[start, start + shape)`` out of an array; zero where the array has no voxels."""
    out = np.zeros(shape, dtype=data.dtype)
    source, target = [], []
    for first, n, m in zip(start, shape, data.shape, strict=True):
        low, high = max(0, int(first)), min(m, int(first) + n)
        if low >= high:
            return out
        source.append(slice(low, high))
        target.append(slice(low - int(first), high - int(first)))
    out[tuple(target)] = data[tuple(source)]
    return out


def _share_inside(data: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    inside = np.abs(data)
    whole = inside.sum(dtype=np.float64)
    for axis, n in enumerate(data.shape):
        at = np.arange(n)
        keep = (at >= low[axis]) & (at <= high[axis])
        inside = np.compress(keep, inside, axis=axis)
    return float(inside.sum(dtype=np.float64) / whole)
