"""Atrophy with a prescribed volume change of named regions, in the space of the template."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pyadx.data.phantom.anatomy import CORTEX, CSF, HIPPOCAMPUS, VENTRICLE, Anatomy
from pyadx.data.phantom.warps import Field, exponential, log_jacobian, points, poisson_velocity, sample

REGIONS: dict[str, tuple[int, ...]] = {"ventricle": VENTRICLE, "hippocampus": HIPPOCAMPUS, "cortex": CORTEX}

_BLUR = 0.5  # of region masks, voxels: a sharp edge in the divergence would give a sharp edge in the warp
_REACH = 2.0  # width of the space that absorbs the cortex's loss of volume, voxels
_CORRECTIONS = 4


@dataclass(frozen=True, eq=False)
class TemplateGrid:
    """The template's regions on the grid of the synthetic scans.

    Attributes
    ----------
    anatomy : Anatomy
        The template at 1 mm.
    shape : tuple of int
        Shape of the scans.
        affine : numpy.ndarray
        Voxels of the scans to MNI millimetres.
    regions : dict
        Share of every voxel that belongs to a region, float32 ``[D, H, W]``, 0 to 1.
    around : numpy.ndarray
        Share of the cortex's loss that each voxel of fluid and background beside it absorbs; sums to 1.
    """

    anatomy: Anatomy
    shape: tuple[int, int, int]
    affine: np.ndarray
    regions: dict[str, np.ndarray]
    around: np.ndarray

    def to_template(self, at: Field) -> Field:
        """Convert voxel coordinates of the grid to those of the template at 1 mm."""
        matrix = np.linalg.inv(self.anatomy.affine) @ self.affine
        moved = np.tensordot(matrix[:3, :3].astype(np.float32), at, axes=1)
        return moved + matrix[:3, 3].astype(np.float32).reshape(3, 1, 1, 1)


def template_grid(anatomy: Anatomy, shape: tuple[int, int, int], affine: np.ndarray) -> TemplateGrid:
    """Resample the template's regions to a grid."""
    from scipy import ndimage

    bare = TemplateGrid(anatomy, shape, affine, {}, np.zeros(0))
    at = bare.to_template(np.indices(shape, dtype=np.float32))
    spacing = np.linalg.norm(affine[:3, :3], axis=0) / np.linalg.norm(anatomy.affine[:3, :3], axis=0)

    def share(numbers: tuple[int, ...]) -> np.ndarray:
        mask = anatomy.mask(numbers).astype(np.float32)
        averaged = ndimage.gaussian_filter(mask, spacing / 2)
        return sample(averaged, at, outside="constant")

    regions = {name: share(numbers) for name, numbers in REGIONS.items()}
    tissue = sample(anatomy.t1, at, outside="constant") > 0
    free = np.where(tissue, share((CSF,)), np.float32(1))
    around = ndimage.gaussian_filter(regions["cortex"], _REACH) * free
    return TemplateGrid(anatomy, shape, affine, regions, around / around.sum())


def atrophy(grid: TemplateGrid, log_factors: Mapping[str, float]) -> Field:
    """Return a warp that changes the volume of each region by a factor.

    Parameters
    ----------
    grid : TemplateGrid
        Regions of the template.
    log_factors : mapping
        Natural logarithm of the factor, by region name.

    Returns
    -------
    numpy.ndarray
        Displacement ``[3, D, H, W]`` from the changed anatomy back to the template: the new scan is the
        template sampled at ``x + displacement(x)``. The space beside the cortex absorbs the lost volume, so
        that tissue far from the regions does not move. Tissue flows across the borders of regions, so the
        first solution is inexact; further iterations correct the error.
    """
    wanted = dict(log_factors)
    back = np.zeros((3, *grid.shape), np.float32)
    for _ in range(1 + _CORRECTIONS):
        back = exponential(poisson_velocity(_divergence(grid, wanted)), sign=-1.0)
        reached = volume_changes(grid, back)
        wanted = {name: wanted[name] + log_factors[name] - reached[name] for name in wanted}
    log_jacobian(back)  # refuses a warp that folds
    return back


def planted_map(grid: TemplateGrid, log_factors: Mapping[str, float]) -> np.ndarray:
    """Return the prescribed logarithm of the volume change, float32 ``[D, H, W]``, in template space."""
    return sum(
        (np.float32(log_factors[name]) * share for name, share in grid.regions.items()),
        np.zeros(grid.shape, np.float32),
    )


def volume_changes(grid: TemplateGrid, back: Field) -> dict[str, float]:
    """Return the logarithm of the volume of each region after a warp over that before it."""
    at = points(back)
    return {
        name: float(np.log(sample(share, at, outside="constant").sum() / share.sum()))
        for name, share in grid.regions.items()
    }


def _divergence(grid: TemplateGrid, log_factors: Mapping[str, float]) -> np.ndarray:
    from scipy import ndimage

    wanted = planted_map(grid, log_factors)
    wanted = wanted - wanted.sum() * grid.around
    return ndimage.gaussian_filter(wanted, _BLUR)
