"""Published maps, resampled to the grid of the analysed maps."""

from pathlib import Path

import numpy as np

from pyadx.data.scans import Scan, read_volume

_LEAST_INSIDE = 0.9  # share of the grid in the other map's field of view; less means another space


def read_on_grid(path: Path, scan: Scan) -> np.ndarray:
    """Read a published map, such as a meta-analysis, and resample it to the voxels of another image.

    Parameters
    ----------
    path : Path
        NIfTI or MGZ in the same world space, on any grid; interpolated linearly, 0 outside.
    scan : Scan
        Image that defines the voxels.

    Returns
    -------
    numpy.ndarray
        float32 ``[I, J, K]``.

    Raises
    ------
    ValueError
        If it cannot be read, or covers less than 90% of the voxels that are not 0 in ``scan``.
    """
    other = read_volume(path)
    if other.lies_on(scan):
        return other.data
    to_other = np.linalg.inv(other.affine) @ scan.affine
    at = np.argwhere(scan.data != 0)
    placed = at @ to_other[:3, :3].T + to_other[:3, 3]
    inside = ((placed >= -0.5) & (placed <= np.array(other.data.shape) - 0.5)).all(1)
    if len(at) and inside.mean() < _LEAST_INSIDE:
        raise ValueError(
            f"{path}: covers only {inside.mean():.0%} of the maps' voxels; their affines do not place "
            "them in the same space (register one to the other first)"
        )
    return on_grid(other.data, other.affine, scan)


def on_grid(values: np.ndarray, affine: np.ndarray, scan: Scan) -> np.ndarray:
    """Interpolate a volume linearly on the voxels of another image in the same world space; 0 outside."""
    from scipy import ndimage

    to_other = np.linalg.inv(affine) @ scan.affine
    found: np.ndarray = ndimage.affine_transform(
        values, to_other[:3, :3], offset=to_other[:3, 3], output_shape=scan.data.shape, order=1
    )
    return found
