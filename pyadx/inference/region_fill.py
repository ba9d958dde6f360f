"""Fill values that are computed for each region, and helpers that apply them."""

import hashlib
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.background import brain_mask


class RegionFill(ABC):
    """Base class of fills that compute values for each region. Only brain voxels are filled.

    Parameters
    ----------
    volume : Tensor
        The scan ``[C, D, H, W]``. Voxels that are background in every channel stay as they are; see
        `pyadx.inference.background.background_of`.

    Attributes
    ----------
    volume : Tensor
        The scan.
    brain : Tensor
        bool ``[D, H, W]``: the voxels that filling may change.
    """

    def __init__(self, volume: Tensor) -> None:
        self.volume = volume
        self.brain = brain_mask(volume)

    @abstractmethod
    def values(self, box: np.ndarray, inside: Tensor) -> Tensor:
        """Return the fill values of one region.

        Parameters
        ----------
        box : ndarray
            Integers ``[6]``: half-open ``z0, y0, x0, z1, y1, x1`` within the volume.
        inside : Tensor
            bool ``[d, h, w]``: the region's brain voxels in the box. At least one is set.

        Returns
        -------
        Tensor
            Broadcastable to ``[C, d, h, w]``. Values outside the region are ignored.
        """

    def digest(self) -> bytes:
        """Return a hash of everything besides the scan that determines the fill values."""
        return hashlib.sha256(type(self).__name__.encode()).digest()


Filling = Tensor | RegionFill


def changed_voxels(volume: Tensor, fill: Filling) -> np.ndarray:
    """Return the voxels that filling may change, bool ``[D, H, W]``.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    fill : Tensor or RegionFill
        Fill values: broadcastable to ``volume``, or computed for each region.
    """
    changes = fill.brain if isinstance(fill, RegionFill) else (volume != fill).any(0)
    return changes.cpu().numpy()


def window(box: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the slices of a box ``z0, y0, x0, z1, y1, x1`` along the three spatial axes."""
    z0, y0, x0, z1, y1, x1 = (int(n) for n in box)
    return slice(z0, z1), slice(y0, y1), slice(x0, x1)


def in_interval(labels: Tensor, interval: np.ndarray, box: np.ndarray) -> Tensor:
    """Return a mask of the box's voxels with ``lo <= label < hi``, bool ``[d, h, w]``."""
    own = labels[window(box)]
    return (own >= int(interval[0])) & (own < int(interval[1]))


def members(
    fill: RegionFill, box: np.ndarray, labels: Tensor | None = None, interval: np.ndarray | None = None
) -> Tensor:
    """Return a mask of the box's voxels that are in the brain and in the region, bool ``[d, h, w]``.

    Without ``labels`` and ``interval`` the region is the whole box.
    """
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
    """Fill one region of ``out``, a copy of the scan ``[C, D, H, W]``, in place.

    The region is as in `members`.
    """
    inside = members(fill, box, labels, interval)
    target = out[(slice(None), *window(box))]
    values = fill.values(box, inside).expand_as(target)
    target.copy_(torch.where(inside, values, target))
