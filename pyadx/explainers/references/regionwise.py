"""References whose values depend on the region that is filled."""

import hashlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.region_fill import RegionFill, window

_TOLERANCE = 1e-4  # relative residual at which conjugate gradients stop


class RegionMean(RegionFill):
    """Fills a region with its mean intensity in the scan or in another volume.

    Source: AtlasOcclusion, Siegel et al. 2025.

    Parameters
    ----------
    volume : Tensor
        The scan ``[C, D, H, W]``.
    source : Tensor, optional
        The volume in which the mean is taken, of the scan's shape. By default the scan itself.
    """

    def __init__(self, volume: Tensor, source: Tensor | None = None) -> None:
        super().__init__(volume)
        self._source = volume if source is None else source

    def values(self, box: np.ndarray, inside: Tensor) -> Tensor:
        """Return the mean over the region, ``[C, 1, 1, 1]``; see `RegionFill.values`."""
        own = self._source[(slice(None), *window(box))]
        # Summed in float64 over the same box each time, so that the mean always has the same bytes.
        mean = torch.where(inside, own.double(), 0.0).sum((1, 2, 3)) / inside.sum()
        return mean.to(own.dtype)[:, None, None, None]

    def digest(self) -> bytes:
        """Return a hash that includes the volume the mean is taken in; see `RegionFill.digest`."""
        data = self._source.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return hashlib.sha256(super().digest() + data.tobytes()).digest()


class Harmonic(RegionFill):
    """Fills a region with the solution of Laplace's equation; boundary values are the scan's around it.

    If the region holds all brain voxels of its bounding box, the equation is solved in the whole box, with
    the six faces around it as boundary. Otherwise it is solved in the region's own voxels, with the voxels
    around them as boundary. Outside the brain and the volume, boundary values are those of the nearest
    brain voxel, so that regions at the edge of the brain do not darken.

    Parameters
    ----------
    volume : Tensor
        The scan ``[C, D, H, W]``.
    """

    def __init__(self, volume: Tensor) -> None:
        from scipy import ndimage

        super().__init__(volume)
        brain = self.brain.cpu().numpy()
        nearest = ndimage.distance_transform_edt(~brain, return_distances=False, return_indices=True)
        continued = volume.detach().cpu().double().numpy()[(slice(None), *nearest)]
        # Boxes at the edge of the volume need boundary values, too.
        self._continued = np.pad(continued, ((0, 0), (1, 1), (1, 1), (1, 1)), mode="edge")

    def values(self, box: np.ndarray, inside: Tensor) -> Tensor:
        """Return the solution in the box, ``[C, d, h, w]``; see `RegionFill.values`."""
        z0, y0, x0, z1, y1, x1 = (int(n) for n in box)
        around = self._continued[:, z0 : z1 + 2, y0 : y1 + 2, x0 : x1 + 2]
        brain = self.brain[window(box)]
        sizes = (z1 - z0, y1 - y0, x1 - x0)
        if bool((inside == brain).all()):
            solved = _in_box(around, sizes)
        else:
            solved = _in_segment(around, inside.cpu().numpy())
        return torch.from_numpy(solved).to(self.volume)


def _in_box(around: np.ndarray, sizes: tuple[int, int, int]) -> np.ndarray:
    """Solve in a whole box with the six faces around it as boundary, ``[C, d, h, w]``.

    Products of sines diagonalise the Laplacian of a box, so one small matrix per axis is enough.
    """
    right = np.zeros((len(around), *sizes))
    inner = slice(1, -1)
    for axis in range(3):
        for end in (0, -1):
            face: list[slice | int] = [inner] * 3
            face[axis] = end
            place: list[slice | int] = [slice(None)] * 3
            place[axis] = end
            right[(slice(None), *place)] += around[(slice(None), *face)]
    bases = [_sines(n) for n in sizes]
    for axis, (sines, _) in enumerate(bases, start=1):
        right = np.moveaxis(np.tensordot(right, sines, (axis, 0)), -1, axis)
    (_, a), (_, b), (_, c) = bases
    right /= a[:, None, None] + b[:, None] + c
    for axis, (sines, _) in enumerate(bases, start=1):
        right = np.moveaxis(np.tensordot(right, sines, (axis, 0)), -1, axis)
    return right


@lru_cache(maxsize=64)
def _sines(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvectors ``[n, n]`` and eigenvalues ``[n]`` of the negative second difference in 1D."""
    k = np.arange(1, n + 1)
    vectors = np.sqrt(2 / (n + 1)) * np.sin(np.pi * np.outer(k, k) / (n + 1))
    return vectors, 2 - 2 * np.cos(np.pi * k / (n + 1))


def _in_segment(around: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Solve in the voxels of a segment with the voxels around it as boundary, ``[C, d, h, w]``."""
    from scipy import sparse
    from scipy.sparse.linalg import cg

    padded = np.pad(inside, 1)
    number = np.full(padded.shape, -1)
    number[padded] = np.arange(int(padded.sum()))
    at = np.argwhere(padded)
    own = np.arange(len(at))
    rows, columns = [own], [own]
    weights = [np.full(len(at), 6.0)]
    right = np.zeros((len(around), len(at)))
    for axis in range(3):
        for step in (-1, 1):
            z, y, x = (at + step * np.eye(3, dtype=int)[axis]).T
            neighbour = number[z, y, x]
            unknown = neighbour >= 0
            rows.append(own[unknown])
            columns.append(neighbour[unknown])
            weights.append(np.full(int(unknown.sum()), -1.0))
            right[:, ~unknown] += around[:, z, y, x][:, ~unknown]
    where = (np.concatenate(rows), np.concatenate(columns))
    matrix = sparse.csr_matrix((np.concatenate(weights), where))
    out = np.zeros((len(around), *inside.shape))
    for channel, values in enumerate(right):
        begin = np.full(len(at), around[channel][1:-1, 1:-1, 1:-1][inside].mean())
        out[channel][inside] = cg(matrix, values, x0=begin, rtol=_TOLERANCE)[0]
    return out
