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
    """Boundary strength on a prepared volume.

    Attributes
    ----------
    strength : ndarray
        float32 ``[d, h, w]``, 0 to 1.
    direction : ndarray or None
        uint8 ``[d, h, w]``: which of `directions` lies across the boundary.
    """

    strength: np.ndarray
    direction: np.ndarray | None = None


def directions() -> np.ndarray:
    """Return the 13 unit vectors of oriented cues, float64 ``[13, 3]`` (z, y, x)."""
    return np.array(_ucm.directions())


def gradient_cue(prepared: Prepared, threads: int, listener: Listener | None = None) -> Cue:
    """Gradient magnitude within the mask."""
    spacing = list(prepared.spacing)
    magnitude = _ucm.gradient(prepared.intensity, prepared.mask, spacing, threads, listener)
    return Cue(scaled(magnitude))


def chi_square_cue(
    prepared: Prepared, threads: int, listener: Listener | None = None, device: str = "cpu"
) -> Cue:
    """Chi-square distance between the histograms of half balls, summed over radii (the paper's mPb).

    13 directions, radii of 2, 4 and 6 voxels, bins of a tenth of the intensity range.
    """
    strength, direction = chi_square(prepared, threads, listener, device)
    return Cue(scaled(strength), direction)


def chi_square(
    prepared: Prepared, threads: int, listener: Listener | None = None, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cue as it is: float32 strength from 0 to 3, and uint8 direction."""
    bins = np.minimum(prepared.intensity * np.float32(_BINS), _BINS - 1).astype(np.uint8)
    bins[prepared.mask == 0] = _BINS
    if device != "cpu":
        import torch

        from pyadx.ops.segmentation import chi_square as on_cuda

        found = on_cuda(torch.from_numpy(bins).to(device), prepared.spacing, RADII)
        return found[0].cpu().numpy(), found[1].cpu().numpy()
    return _ucm.chi_square(bins, list(prepared.spacing), list(RADII), threads, listener)


def given_cue(boundary: Any, prepared: Prepared, shape: tuple[int, ...]) -> Cue:
    """Take a boundary map that somebody else made.

    Raises
    ------
    TypeError, ValueError
        If its shape differs from the volume's or values are negative or not finite.
    """
    strength = as_volume(boundary, "cue")
    if strength.shape != shape:
        raise ValueError(f"cue has shape {strength.shape}, the volume {shape}")
    if strength.min() < 0:
        raise ValueError("cue holds negative values; a boundary strength starts at 0")
    own = np.ascontiguousarray(strength[prepared.box], np.float32)
    return Cue(scaled(np.where(prepared.mask, own, np.float32(0))))


def scaled(strength: np.ndarray) -> np.ndarray:
    """Return a strength divided by its maximum."""
    top = float(strength.max(initial=0))
    return strength / np.float32(top) if top > 0 else strength
