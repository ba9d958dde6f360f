"""The globalised boundary cue (gPb): local boundaries combined with normalised cuts of the whole volume."""

import warnings
from collections.abc import Callable

import numpy as np

from pyadx import _ucm
from pyadx.segmentation.cues import Cue, Listener, chi_square_cue, directions, scaled
from pyadx.segmentation.smoothing import Prepared, quantise

_REACH = 2  # voxels along each axis: pairs in a window of 5x5x5
_RHO = 0.1  # boundary strength at which the affinity of two voxels falls to 1/e
_VECTORS = 18  # eigenvectors, with the constant one, which is known and not used
_SPARE = 6  # more vectors in the block of LOBPCG, because its last ones converge slowly
_ITERATIONS = 150
_TOLERANCE = 1e-3
_ACCEPTABLE = 0.05  # residual; eigenvalues are between 0 and 1


def gpb_cue(prepared: Prepared, threads: int, listener: Listener | None = None, device: str = "cpu") -> Cue:
    """Return the mean of the local chi-square cue and a spectral cue, each divided by its maximum.

    1. The affinities between the voxels of a 5x5x5 window make a graph.
    2. The eigenproblem of its normalised cut is reduced to the watershed basins of the local cue. A voxel
       belongs to several basins, in proportion to its affinity to their voxels (one step of the random
       walk). SciPy's LOBPCG solves the reduced problem from a fixed start.
    3. The spectral cue is the sum of the gradients of the 17 smoothest eigenvectors, each divided by the
       square root of its eigenvalue.

    The direction is that of the stronger cue. A volume with 90 basins or fewer gets the local cue alone.

    Sources: Arbelaez et al., PAMI 2011; for the reduction Taylor, "Towards fast and accurate
    segmentation", CVPR 2013; for the form in 3D reference [10] of the paper.

    Parameters
    ----------
    prepared : Prepared
        Volume from `pyadx.segmentation.smoothing.prepare`.
    threads : int
        Threads of the native core.
    listener : callable, optional
        Called with the share of the work that is done, from 0 to 1.
    device : str
        Where the local cue is computed: ``cpu``, ``cuda`` or ``cuda:N``.

    Warns
    -----
    RuntimeWarning
        If the eigenvectors have not converged; it states the largest residual.
    """
    local = chi_square_cue(prepared, threads, _share(listener, 0.0, 0.2), device)
    assert local.direction is not None
    basins, count = _ucm.watershed(quantise(local.strength), prepared.mask, threads)
    if count <= _VECTORS * 5:  # too few for LOBPCG, and no structure to find
        return local
    tell = _share(listener, 0.2, 0.4)
    vectors, values = _eigenvectors(prepared, local, basins, count, threads, tell)
    if listener is not None:
        listener(0.8)
    spectral, direction = _spectral_cue(prepared, vectors, values)
    strength = scaled(spectral)
    stronger = np.where(strength > local.strength, direction, local.direction).astype(np.uint8)
    return Cue((strength + local.strength) / np.float32(2), stronger)


def _share(listener: Listener | None, start: float, part: float) -> Listener | None:
    tell: Callable[[float], None] | None = listener
    return None if tell is None else lambda done: tell(start + part * done)


def _eigenvectors(
    prepared: Prepared, local: Cue, basins: np.ndarray, count: int, threads: int, listener: Listener | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvectors on the voxels of the mask ``[N, K]``, and eigenvalues ``[K]``."""
    from scipy import sparse
    from scipy.sparse.linalg import lobpcg

    inside = prepared.mask != 0
    assert local.direction is not None
    voxels = int(inside.sum())
    number = np.full(prepared.mask.shape, -1, np.int32)
    number[inside] = np.arange(voxels, dtype=np.int32)
    flat, weight = _ucm.affinities(local.strength, local.direction, number, _REACH, _RHO, threads, listener)
    pairs = flat.reshape(-1, 2)
    half = sparse.csr_matrix((weight, (pairs[:, 0], pairs[:, 1])), shape=(voxels, voxels))
    affinity = half + half.T + sparse.identity(voxels, np.float32, "csr")
    degree = np.asarray(affinity.sum(1)).ravel()
    hard = sparse.csr_matrix(
        (np.ones(voxels, np.float32), (np.arange(voxels), basins[inside])), shape=(voxels, count)
    )
    soft = (sparse.diags(1 / degree) @ (affinity @ hard)).tocsr()
    reduced = (soft.T @ (affinity @ soft)).tocsr().astype(np.float64)
    mass = (soft.T @ sparse.diags(degree) @ soft).tocsr().astype(np.float64)
    start = np.random.default_rng(0).standard_normal((count, _VECTORS - 1 + _SPARE))
    # With a unit diagonal, a residual means the same for large and small basins.
    scale = sparse.diags(1 / np.sqrt(mass.diagonal()))
    left, right = scale @ reduced @ scale, scale @ mass @ scale
    constant = np.sqrt(mass.diagonal())[:, None]  # the first eigenvector, which is known
    with warnings.catch_warnings():
        # LOBPCG warns of any residual above its tolerance, also of the spare vectors.
        warnings.simplefilter("ignore", UserWarning)
        values, vectors = lobpcg(
            left, start, B=right, Y=constant, largest=True, tol=_TOLERANCE, maxiter=_ITERATIONS
        )
    residuals = np.linalg.norm(left @ vectors - (right @ vectors) * values, axis=0)
    order = np.argsort(-values)[: _VECTORS - 1]
    largest = residuals[order].max()  # spare vectors need not converge
    if largest > _ACCEPTABLE:
        warnings.warn(
            f"the eigenvectors of the gPb cue have not converged: the largest residual is "
            f"{largest:.2g}, up to {_ACCEPTABLE:g} is expected; cue='chi2' works without them",
            RuntimeWarning,
            stacklevel=2,
        )
    return soft @ (scale @ vectors[:, order]), np.maximum(1 - values[order], 1e-6)


def _spectral_cue(
    prepared: Prepared, vectors: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectral cue, float32 ``[d, h, w]``, and the direction in which it is strongest."""
    inside = prepared.mask != 0
    normals = directions().T.astype(np.float32)
    oriented = np.zeros((vectors.shape[0], normals.shape[1]), np.float32)
    volume = np.zeros(prepared.mask.shape, np.float32)
    for vector, value in zip(vectors.T, values, strict=True):
        volume[inside] = vector
        slopes = np.stack([_slope(volume, inside, axis)[inside] for axis in range(3)], 1)
        slopes /= np.array(prepared.spacing, np.float32)
        oriented += np.abs(slopes @ normals) / np.float32(np.sqrt(value))
    strength = np.zeros(prepared.mask.shape, np.float32)
    direction = np.zeros(prepared.mask.shape, np.uint8)
    strength[inside] = oriented.max(1)
    direction[inside] = oriented.argmax(1)
    return strength, direction


def _slope(volume: np.ndarray, inside: np.ndarray, axis: int) -> np.ndarray:
    """Return central differences between voxels inside the mask, one-sided at its border."""
    valid = np.logical_and(*_pair(inside, axis))
    steps = np.where(valid, np.diff(volume, axis=axis), 0)
    total, count = np.zeros_like(volume), np.zeros(volume.shape, np.float32)
    for part in (slice(None, -1), slice(1, None)):
        at = tuple(part if a == axis else slice(None) for a in range(3))
        total[at] += steps
        count[at] += valid
    return total / np.maximum(count, 1)


def _pair(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    near = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
    far = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
    return array[near], array[far]
