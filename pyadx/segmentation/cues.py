"""Boundary cues: where one region is likely to end and another to begin."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx import _ucm
from pyadx.segmentation.checks import as_volume
from pyadx.segmentation.smoothing import Prepared

Listener = Callable[[float], None]

RADII = (2.0, 4.0, 6.0)  # voxels, of the half balls
_BINS = 10


@dataclass(frozen=True, eq=False)
class Cue:
    """Boundary strength at each voxel of a prepared volume.

    Attributes
    ----------
    strength : ndarray
        float32 ``[d, h, w]``, 0 to 1.
    direction : ndarray or None
        uint8 ``[d, h, w]``: index into `directions` of the boundary's normal; ``None`` if it is not known.
    """

    strength: np.ndarray
    direction: np.ndarray | None = None


def directions() -> np.ndarray:
    """Return the 13 unit vectors of oriented cues, float64 ``[13, 3]`` (z, y, x)."""
    return np.array(_ucm.directions())


def gradient_cue(prepared: Prepared, threads: int, listener: Listener | None = None) -> Cue:
    """Return the gradient magnitude within the mask, divided by its maximum.

    Parameters
    ----------
    prepared : Prepared
        Volume from `pyadx.segmentation.smoothing.prepare`.
    threads : int
        Threads of the native core.
    listener : callable, optional
        Called with the share of the work that is done, from 0 to 1.
    """
    spacing = list(prepared.spacing)
    magnitude = _ucm.gradient(prepared.intensity, prepared.mask, spacing, threads, listener)
    return Cue(scaled(magnitude))


def chi_square_cue(
    prepared: Prepared, threads: int, listener: Listener | None = None, device: str = "cpu"
) -> Cue:
    """Return the chi-square distance between the histograms of two half balls (the paper's mPb).

    The distance is summed over radii of 2, 4 and 6 voxels; the strongest of 13 directions counts. A
    histogram has 10 bins. The result is divided by its maximum.

    Parameters
    ----------
    prepared : Prepared
        Volume from `pyadx.segmentation.smoothing.prepare`.
    threads : int
        Threads of the native core.
    listener : callable, optional
        Called with the share of the work that is done, from 0 to 1; not on a GPU.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    """
    strength, direction = chi_square(prepared, threads, listener, device)
    return Cue(scaled(strength), direction)


def chi_square(
    prepared: Prepared, threads: int, listener: Listener | None = None, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Return `chi_square_cue` before it is divided: float32 strength from 0 to 3, and uint8 direction."""
    bins = np.minimum(prepared.intensity * np.float32(_BINS), _BINS - 1).astype(np.uint8)
    bins[prepared.mask == 0] = _BINS
    if device != "cpu":
        import torch

        from pyadx.ops.segmentation import chi_square as on_cuda

        found = on_cuda(torch.from_numpy(bins).to(device), prepared.spacing, RADII)
        return found[0].cpu().numpy(), found[1].cpu().numpy()
    return _ucm.chi_square(bins, list(prepared.spacing), list(RADII), threads, listener)


def given_cue(boundary: Any, prepared: Prepared, shape: tuple[int, ...]) -> Cue:
    """Return a cue from a boundary map of the user, divided by its maximum inside the mask.

    Parameters
    ----------
    boundary : array or Tensor
        ``[D, H, W]``, finite numbers of at least 0.
    prepared : Prepared
        The prepared volume.
    shape : tuple of int
        Shape ``D, H, W`` of the volume before it was cropped.

    Raises
    ------
    TypeError, ValueError
        If it holds no real numbers, its shape differs from the volume's, or values are negative or not
        finite.
    """
    strength = as_volume(boundary, "cue")
    if strength.shape != shape:
        raise ValueError(f"cue has shape {strength.shape}, expected that of the volume, {shape}")
    if strength.min() < 0:
        raise ValueError(
            f"cue holds negative values (down to {strength.min():g}); a boundary strength is at least 0"
        )
    own = np.ascontiguousarray(strength[prepared.box], np.float32)
    return Cue(scaled(np.where(prepared.mask, own, np.float32(0))))


def scaled(strength: np.ndarray) -> np.ndarray:
    """Return a strength divided by its maximum, or unchanged if that is 0."""
    top = float(strength.max(initial=0))
    return strength / np.float32(top) if top > 0 else strength
