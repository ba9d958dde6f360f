"""Occlusion windows: where they are centred, which voxels they cover, and how their scores become a map.

The same rule holds along every axis. Windows are centred on voxels ``offset + stride * i``; the offset
leaves equal margins at both ends (the far end takes the odd voxel), so stride 1 has a window for every
voxel. Windows are clipped at the border of the volume, never shifted or dropped. A window of even
length covers one voxel more before its centre than after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from pyadx import ops
from pyadx.ops.numbers import values_of, whole_number


def triple(name: str, value: int | Sequence[int]) -> tuple[int, int, int]:
    """Return one positive integer per axis, from one for all axes or three.

    Raises
    ------
    ValueError
        If the value is neither one positive integer nor three.
    """
    several = values_of(value)
    numbers = [whole_number(one) for one in ([value] * 3 if several is None else several)]
    whole = [number for number in numbers if number is not None]
    if len(numbers) != 3 or len(whole) != 3:
        raise ValueError(f"{name} must be one integer or three, got {value!r}")
    if min(whole) < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")
    return whole[0], whole[1], whole[2]


@dataclass(frozen=True)
class WindowGrid:
    """Windows of one size, centred on a regular grid.

    Attributes
    ----------
    shape : tuple of int
        Spatial shape of the volume, ``D, H, W``.
    window, stride : tuple of int
        Size of a window and distance between centres along each axis, in voxels.
    """

    shape: tuple[int, ...]
    window: tuple[int, int, int]
    stride: tuple[int, int, int]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of windows along each axis."""
        return tuple((n - 1) // s + 1 for n, s in zip(self.shape, self.stride, strict=True))

    @property
    def offsets(self) -> tuple[int, ...]:
        """Centre of the first window along each axis."""
        return tuple((n - 1) % s // 2 for n, s in zip(self.shape, self.stride, strict=True))

    def boxes(self) -> Tensor:
        """Return all windows as boxes ``z0, y0, x0, z1, y1, x1``, int64 ``[N, 6]``, last axis fastest."""
        axes = zip(self.counts, self.offsets, self.stride, strict=True)
        centres = torch.cartesian_prod(*(torch.arange(n) * s + o for n, o, s in axes))
        window = torch.tensor(self.window)
        first = centres.reshape(-1, 3) - window // 2
        return torch.cat([first, first + window], 1)

    def painting(self, inside: np.ndarray | None) -> np.ndarray:
        """Return which windows contribute to the map inside a mask.

        Parameters
        ----------
        inside : ndarray, optional
            The mask, bool ``[D, H, W]``. Without it all windows contribute.

        Returns
        -------
        ndarray
            bool ``[N]`` in the order of `boxes`.
        """
        if inside is None:
            return np.ones(int(np.prod(self.counts)), bool)
        near = []
        for voxels, count, offset, stride in zip(
            np.nonzero(inside), self.counts, self.offsets, self.stride, strict=True
        ):
            place = (voxels - offset) / stride
            near.append([np.floor(place).clip(0, count - 1), np.ceil(place).clip(0, count - 1)])
        chosen = np.zeros(self.counts, bool)
        for z, y, x in product(*near):
            chosen[z.astype(int), y.astype(int), x.astype(int)] = True
        return chosen.reshape(-1)

    def paint(self, scores: Tensor) -> Tensor:
        """Turn one score per window into a map.

        Parameters
        ----------
        scores : Tensor
            ``[N]`` in the order of `boxes`.

        Returns
        -------
        Tensor
            float32 ``[D, H, W]``. At stride 1 the scores themselves. Otherwise they are interpolated
            linearly between the centres, and constant beyond the outermost ones.
        """
        coarse = scores.float().reshape(self.counts)
        if self.stride == (1, 1, 1):
            return coarse
        scale = [1.0 / s for s in self.stride]
        offset = [-o / s for o, s in zip(self.offsets, self.stride, strict=True)]
        one = coarse.new_ones(1, 1)
        return ops.weighted_cam(coarse[None, None], one, self.shape, "none", scale, offset)[0]
