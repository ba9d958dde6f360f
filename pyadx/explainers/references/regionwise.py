"""References whose values depend on the region that is filled."""

import hashlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.region_fill import RegionFill, window

_TOLERANCE = 1e-4  # of the conjugate gradients, relative


class RegionMean(RegionFill):
    """Fills a region with its mean: in the scan, or in another one (AtlasOcclusion: Siegel et al. 2025).

    Parameters
    ----------
    volume : Tensor
        The scan ``[C, D, H, W]``.
    source : Tensor, optional
        Where the mean is taken, of the scan's shape; the scan itself by default.
    """

    def __init__(self, volume: Tensor, source: Tensor | None = None) -> None:
        super().__init__(volume)
        self._source = volume if source is None else source

    def values(self, box: np.ndarray, inside: Tensor) -> Tensor:
        """See `RegionFill.values`; ``[C, 1, 1, 1]``."""
        own = self._source[(slice(None), *window(box))]
        # In float64 and one order, so that the mean has the same bytes wherever it is needed.
        mean = torch.where(inside, own.double(), 0.0).sum((1, 2, 3)) / inside.sum()
        return mean.to(own.dtype)[:, None, None, None]

    def digest(self) -> bytes:
        """See `RegionFill.digest`."""
        data = self._source.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return hashlib.sha256(super().digest() + data.tobytes()).digest()


class Harmonic(RegionFill):
    """Fills a region with the solution of Laplace's equation whose border values are the scan's.

    A region that holds all the brain of its box is solved as that box, from the six faces around it; any
    other one from the voxels around it. Beyond the edge of the brain, and of the volume, the scan is
    continued by the nearest voxel of the brain, so that the edge does not darken.

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
        # A frame around the volume, so that every box has a border.
        self._continued = np.pad(continued, ((0, 0), (1, 1), (1, 1), (1, 1)), mode="edge")

    def values(self, box: np.ndarray, inside: Tensor) -> Tensor:
        """See `RegionFill.values`."""
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
    """Solve in all of a box from the six faces around it, ``[C, d, h, w]``.

    The Laplacian of a box is diagonal in products of sines, so three small matrices solve it.
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
    """Return eigenvectors ``[n, n]`` and eigenvalues of minus the second difference along a line."""
    k = np.arange(1, n + 1)
    vectors = np.sqrt(2 / (n + 1)) * np.sin(np.pi * np.outer(k, k) / (n + 1))
    return vectors, 2 - 2 * np.cos(np.pi * k / (n + 1))


def _in_segment(around: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Solve in the voxels of a segment from those around them, ``[C, d, h, w]``."""
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
