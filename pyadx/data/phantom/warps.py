"""Smooth invertible warps: displacement fields from velocity fields.

A stationary velocity field is integrated by scaling and squaring (Arsigny et al., MICCAI 2006). A field
whose divergence is prescribed has, to first order along its flow, a prescribed logarithm of the Jacobian
determinant.
"""

import numpy as np

Field = np.ndarray  # float32 [3, D, H, W], voxels


def poisson_velocity(divergence: np.ndarray) -> Field:
    """Return the gradient field ``v = grad u`` with ``div v`` as given, and no flow through the border.

    Parameters
    ----------
    divergence : numpy.ndarray
        ``[D, H, W]``, per voxel. Its mean is subtracted, because total inflow and outflow are equal.

    Returns
    -------
    numpy.ndarray
        float32 ``[3, D, H, W]``, voxels. Cosine transforms solve the Poisson equation, exactly for the
        seven-point Laplacian.
    """
    from scipy import fft

    axes = range(3)
    transformed = fft.dctn(np.asarray(divergence, np.float64), type=2, workers=1)
    eigenvalues = sum(
        (2 * np.cos(np.pi * np.arange(n) / n) - 2).reshape([-1 if b == a else 1 for b in axes])
        for a, n in enumerate(divergence.shape)
    )
    eigenvalues[0, 0, 0] = 1
    transformed /= eigenvalues
    transformed[0, 0, 0] = 0
    potential = fft.idctn(transformed, type=2, workers=1)
    return np.stack([np.gradient(potential, axis=a) for a in axes]).astype(np.float32)


def smooth_noise(
    shape: tuple[int, ...], smoothness: float, amplitude: float, random: np.random.Generator
) -> np.ndarray:
    """Return Gaussian noise, smoothed and scaled to a root mean square.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result.
    smoothness : float
        Standard deviation of the Gaussian along the last three axes, voxels.
    amplitude : float
        Root mean square.
    random : numpy.random.Generator
        Source of the noise.
    """
    from scipy import ndimage

    noise = random.standard_normal(shape).astype(np.float32)
    sigma = (0.0,) * (len(shape) - 3) + (smoothness,) * 3
    noise = ndimage.gaussian_filter(noise, sigma, mode="reflect")
    return noise * np.float32(amplitude / max(float(np.sqrt((noise**2).mean())), 1e-12))


def exponential(velocity: Field, sign: float = 1.0) -> Field:
    """Integrate a stationary velocity field over unit time.

    Parameters
    ----------
    velocity : numpy.ndarray
        ``[3, D, H, W]``, voxels.
    sign : float
        -1 gives the inverse warp.

    Returns
    -------
    numpy.ndarray
        Displacements, float32 ``[3, D, H, W]``: a point ``x`` goes to ``x + displacement(x)``.
    """
    largest = float(np.abs(velocity).max(initial=0))
    steps = max(0, int(np.ceil(np.log2(max(largest, 1e-12) / 0.5))))
    displacement = (velocity * np.float32(sign / 2**steps)).astype(np.float32)
    for _ in range(steps):
        displacement = compose(displacement, displacement)
    return displacement


def compose(first: Field, second: Field) -> Field:
    """Return the displacement of ``first`` followed by ``second``."""
    return first + sample(second, points(first))


def points(displacement: Field) -> Field:
    """Return the displaced position of every voxel, float32 ``[3, D, H, W]``, voxel coordinates."""
    grid = np.indices(displacement.shape[1:], dtype=np.float32)
    return grid + displacement


def sample(volume: np.ndarray, at: Field, order: int = 1, outside: str = "nearest") -> np.ndarray:
    """Interpolate a volume, or every component of a field, at points given in its voxel coordinates."""
    from scipy import ndimage

    if volume.ndim == 4:
        return np.stack([sample(part, at, order, outside) for part in volume])
    return ndimage.map_coordinates(volume, at, order=order, mode=outside, prefilter=order > 1)


def log_jacobian(displacement: Field) -> np.ndarray:
    """Return the logarithm of the volume change of a warp, float32 ``[D, H, W]``, by central differences.

    Raises
    ------
    ValueError
        If the warp folds somewhere: its Jacobian determinant is not positive.
    """
    rows = [[np.gradient(displacement[i], axis=j) for j in range(3)] for i in range(3)]
    for i in range(3):
        rows[i][i] = rows[i][i] + 1
    (a, b, c), (d, e, f), (g, h, k) = rows
    determinant = a * (e * k - f * h) - b * (d * k - f * g) + c * (d * h - e * g)
    if float(determinant.min()) <= 0:
        raise ValueError("the warp folds: its Jacobian determinant is not positive everywhere")
    return np.log(determinant).astype(np.float32)
