"""What regions are filled with where that depends on the region itself."""

import hashlib
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor


class RegionFill(ABC):
    """Gives every region values of its own; only voxels of the brain are filled.

    Parameters
    ----------
    volume : Tensor
        The scan ``[C, D, H, W]``. Voxels that are 0 in every channel are background and stay as they are.

    Attributes
    ----------
    volume : Tensor
        The scan.
    brain : Tensor
        bool ``[D, H, W]``: the voxels that filling may change.
    """

    def __init__(self, volume: Tensor) -> None:
        self.volume = volume
        self.brain = (volume != 0).any(0)

    @abstractmethod
    def values(self, box: np.ndarray, inside: Tensor) -> Tensor:
        """Return what a region is filled with.

        Parameters
        ----------
        box : ndarray
            Integers ``[6]``: half-open ``z0, y0, x0, z1, y1, x1`` within the volume.
        inside : Tensor
            bool ``[d, h, w]``: the region's voxels of the box, brain only; at least one.

        Returns
        -------
        Tensor
            Broadcastable to ``[C, d, h, w]``; what stands outside the region does not count.
        """

    def digest(self) -> bytes:
        """Return a hash of all that decides the values besides the scan."""
        return hashlib.sha256(type(self).__name__.encode()).digest()


Filling = Tensor | RegionFill


def changed_voxels(volume: Tensor, fill: Filling) -> np.ndarray:
    """Return the voxels that filling may change, bool ``[D, H, W]``.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    fill : Tensor or RegionFill
        Values that broadcast to the volume, or that depend on the region.
    """
    changes = fill.brain if isinstance(fill, RegionFill) else (volume != fill).any(0)
    return changes.cpu().numpy()


def window(box: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the slices of a box."""
    z0, y0, x0, z1, y1, x1 = (int(n) for n in box)
    return slice(z0, z1), slice(y0, y1), slice(x0, x1)


def in_interval(labels: Tensor, interval: np.ndarray, box: np.ndarray) -> Tensor:
    """Return which voxels of a box have a label ``lo <= label < hi``, bool ``[d, h, w]``."""
    own = labels[window(box)]
    return (own >= int(interval[0])) & (own < int(interval[1]))


def members(
    fill: RegionFill, box: np.ndarray, labels: Tensor | None = None, interval: np.ndarray | None = None
) -> Tensor:
    """Return which voxels of a box belong to its region and may change, bool ``[d, h, w]``."""
    inside = fill.brain[window(box)]
    if labels is None or interval is None:
        return inside
    return inside & in_interval(labels, interval, box)


def fill_region(
    out: Tensor,
    fill: RegionFill,
    box: np.ndarray,
    labels: Tensor | None = None,
    interval: np.ndarray | None = None,
) -> None:
    """Fill one region of a copy of the scan, ``[C, D, H, W]``, in place."""
    inside = members(fill, box, labels, interval)
    target = out[(slice(None), *window(box))]
    values = fill.values(box, inside).expand_as(target)
    target.copy_(torch.where(inside, values, target))
