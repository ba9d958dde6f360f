"""Weights of 3x3x3 convolutions, evaluated at the points of Toom-Cook tiles (csrc/patches/tiles.h).

Along each axis, a tile of ``m`` cells and three taps are polynomials of degrees ``m - 1`` and 2. Their
product has degree ``m + 1``, so ``m + 2`` of its values determine it. The taps are evaluated here, once
per layer, with the scales of the interpolation multiplied in. csrc/patches/points.h does the rest and
must use the same points. A. L. Toom (1963), S. A. Cook (1966); for networks: A. Lavin and S. Gray, "Fast
algorithms for convolutional neural networks", CVPR 2016.
"""

from math import sqrt

import torch
from torch import Tensor

# By cells per axis of a tile: its points without the last, which is infinity, and the scales of all.
_POINTS = {
    2: ((0.0, 1.0, -1.0), (1.0, 0.5, 0.5, 1.0)),
    4: (
        (0.0, sqrt(0.5), -sqrt(0.5), sqrt(2.0), -sqrt(2.0)),
        (1.0, 4 / 3, 4 / 3, 1 / 6, 1 / 6, 1.0),
    ),
}
TILES = tuple(_POINTS)


def transformed_weight(weight: Tensor, tile: int) -> Tensor:
    """Evaluate a convolution's taps at the points of a tile.

    Parameters
    ----------
    weight : Tensor
        ``[K, C, 3, 3, 3]``, float32 or float64, on the CPU.
    tile : {2, 4}
        Cells per axis of a tile of the input.

    Returns
    -------
    Tensor
        ``[points, blocks, C, lanes]`` with ``(tile + 2) ** 3`` points, in the dtype of ``weight`` but
        computed in float64. Output channels are in blocks of 32, 64 or 128 bytes, padded with zeros.
    """
    points, scales = _POINTS[tile]
    powers = torch.tensor([[1.0, t, t * t] for t in points] + [[0.0, 0.0, 1.0]], dtype=torch.float64)
    taps = powers * torch.tensor(scales, dtype=torch.float64)[:, None]
    # Cell x of the input reaches output x + d through tap 2 - d.
    reversed_taps = weight.detach().double().flip(2, 3, 4)
    values = torch.einsum("az,by,cx,kizyx->abcik", taps, taps, taps, reversed_taps).flatten(0, 2)
    outputs = weight.shape[0]
    lanes = _lanes(outputs, weight.element_size())
    blocks = -(-outputs // lanes)
    padded = values.new_zeros(*values.shape[:2], blocks * lanes)
    padded[..., :outputs] = values
    split = padded.reshape(*values.shape[:2], blocks, lanes)
    return split.permute(0, 2, 1, 3).to(weight.dtype).contiguous()


def _lanes(outputs: int, element_size: int) -> int:
    """Return the output channels of the largest block that leaves less than 32 bytes of channels empty."""
    for size in (128, 64):
        lanes = size // element_size
        if -(-outputs // lanes) * lanes < outputs + 32 // element_size:
            return lanes
    return 32 // element_size
