"""Which code convolves patches, our own kernels or the vendor's library, and with which algorithm.

On the CPU our own kernel convolves: tap by tap, by Toom-Cook tiles, or by split products of bfloat16. On
CUDA the vendor's library does, unless ``PYADX_CUDA_CONV=own`` chooses our tensor-core kernel. ``vendor`` is
the default until a GPU has shown that our kernel is faster (benchmarks/gpu.sh). Other devices use the
library.

The choice depends on the layer and on the patch's own boxes only, so a region's score does not depend on
other regions. Costs were measured (benchmarks/NOTES.md); their unit is a multiply-add of a large matrix
product. The environment variable ``PYADX_CONV`` forces ``direct``, ``toom2``, ``toom4`` or ``amx`` wherever
a layer allows it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.options import asked_for
from pyadx.ops import split, toom_cook

# Cells per axis of the tiles that PYADX_CONV forces; 0 for no tiles.
_FORCED = {"auto": None, "direct": 0, "toom2": 2, "toom4": 4, "amx": 0}

# Tap by tap: cost per changed cell, tap and pair of channels. It is below one because channels of a row
# that do not change, as after a ReLU, are skipped. The others are overheads: with few input channels rows
# are short, and with few output channels vectors are partly empty.
_DIRECT, _FEW_CHANNELS, _FEW_OUTPUTS = 0.5, 20.0, 5.0
# By tiles: cost per point and pair of channels, with the overhead of few output channels; then cost per
# point and channel that is evaluated or interpolated.
_PRODUCT, _FEW_PRODUCTS = 1.25, 8.0
_TRANSFORM = 14.0
_LEAST_CHANNELS = 32  # of inputs and of outputs: with fewer, tiles do not pay
_MOST_CARRIED = 1 << 20  # elements that a thread keeps from one layer of tiles to the next

_CUDA_CHOICES = ("vendor", "own")

Convolver = Literal["cpu", "tensor_cores", "library"]


def convolver(weight: Tensor) -> Convolver:
    """Choose the code that convolves the patches of a layer.

    Parameters
    ----------
    weight : Tensor
        ``[K, C / groups, kd, kh, kw]``, on the device of the patches.

    Returns
    -------
    str
        ``cpu`` and ``tensor_cores`` stand for `pyadx.ops.patches.conv`, ``library`` for torch's ``conv3d``.
        float64 on CUDA is left to the library, since our kernel sums it tap by tap.

    Raises
    ------
    ValueError
        If the environment variable ``PYADX_CUDA_CONV`` is neither ``vendor`` nor ``own``.
    """
    if weight.device.type == "cpu":
        return "cpu"
    if weight.device.type != "cuda":
        return "library"
    asked = asked_for("PYADX_CUDA_CONV", _CUDA_CHOICES)
    return "tensor_cores" if asked == "own" and weight.dtype == torch.float32 else "library"


@dataclass(frozen=True)
class ConvAlgorithms:
    """The algorithms that may convolve the patches of a layer on the CPU.

    Attributes
    ----------
    channels, outputs : int
        Input channels per group, and output channels.
    window : Window
        Kernel, stride, padding and dilation.
    tile : int
        Cells per axis of a Toom-Cook tile, or zero if the layer is not convolved by tiles.
    always : bool
        Whether tiles are used for every patch that they can convolve, not only where they pay.
    split : bool
        Whether all patches in float32 are convolved by products of bfloat16 (`pyadx.ops.split`).
    """

    channels: int
    outputs: int
    window: bx.Window
    tile: int
    always: bool
    split: bool = False

    @classmethod
    def of_layer(cls, outputs: int, channels: int, window: bx.Window, groups: int) -> "ConvAlgorithms":
        """Choose the algorithms for a layer.

        Parameters
        ----------
        outputs, channels : int
            Output channels, and input channels per group.
        window : Window
            Kernel, stride, padding and dilation.
        groups : int
            As in ``torch.nn.Conv3d``.

        Raises
        ------
        ValueError
            If the environment variable ``PYADX_CONV`` does not name an algorithm.
        """
        asked = asked_for("PYADX_CONV", tuple(_FORCED))
        forced = _FORCED[asked]
        one = (1, 1, 1)
        shape = (tuple(window.kernel), tuple(window.stride), tuple(window.dilation), groups)
        fits = shape == ((3, 3, 3), one, one, 1)
        # `auto` never splits, because the speed of AMX has not been measured. Once it is known, choose here
        # for the layer and in `by_tiles` for the patch, if `pyadx.ops.split.arithmetic` returns "amx".
        if fits and asked == "amx":
            return cls(channels, outputs, window, 0, False, split=True)
        if not fits or forced == 0:
            return cls(channels, outputs, window, 0, False)
        if forced is None and min(channels, outputs) < _LEAST_CHANNELS:
            return cls(channels, outputs, window, 0, False)
        return cls(channels, outputs, window, forced or min(toom_cook.TILES), forced is not None)

    def by_tiles(self, boxes: np.ndarray, out_boxes: np.ndarray) -> np.ndarray:
        """Return which patches are convolved by tiles or split products, not tap by tap, bool ``[B]``."""
        if self.split:
            return np.ones(len(boxes), bool)
        if not self.tile:
            return np.zeros(len(boxes), bool)
        fitting = self._carried(boxes) <= _MOST_CARRIED
        if self.always:
            return fitting
        return fitting & (self._tiled(boxes, out_boxes) < self._direct(boxes, out_boxes))

    def transformed(self, weight: Tensor) -> Tensor | None:
        """Return the weight for tiles or split products; None if patches must be convolved tap by tap."""
        if self.split:
            return split.split_weight(weight)
        return toom_cook.transformed_weight(weight, self.tile)

    def multiply_adds(self, boxes: np.ndarray, out_boxes: np.ndarray, direct: np.ndarray) -> np.ndarray:
        """Predict the cost of every patch, float64 ``[B]``; ``direct`` is the cost of going tap by tap."""
        if not self.tile:
            return direct
        return np.where(self.by_tiles(boxes, out_boxes), self._tiled(boxes, out_boxes), direct)

    def _direct(self, boxes: np.ndarray, out_boxes: np.ndarray) -> np.ndarray:
        """Predict the cost tap by tap: every changed cell meets every tap whose output is written."""
        met = np.ones(len(boxes))
        for axis in range(3):
            own = np.zeros(len(boxes))
            for tap in range(self.window.kernel[axis]):
                own += self._met(boxes, out_boxes, axis, tap)
            met *= own
        few = 1 + _FEW_CHANNELS / self.channels + _FEW_OUTPUTS / self.outputs
        return _DIRECT * few * met * self.channels * self.outputs

    def _met(self, boxes: np.ndarray, out_boxes: np.ndarray, axis: int, tap: int) -> np.ndarray:
        """Count the pairs of a changed cell and an output along one axis that one tap connects."""
        stride = self.window.stride[axis]
        start = tap * self.window.dilation[axis] - self.window.padding[axis]
        first = np.maximum(-((start - boxes[:, axis]) // stride), out_boxes[:, axis])
        last = np.minimum(-((start - boxes[:, axis + 3]) // stride), out_boxes[:, axis + 3])
        return np.maximum(last - first, 0)

    def _tiled(self, boxes: np.ndarray, out_boxes: np.ndarray) -> np.ndarray:
        """Predict the cost by tiles: the products, and the transforms of inputs and outputs."""
        points = (self.tile + 2) ** 3
        reached = bx.extents(boxes) + 2
        inner, outer = np.ones(len(boxes)), np.ones(len(boxes))
        for axis in range(3):
            skip = out_boxes[:, axis] - (boxes[:, axis] + self.window.padding[axis] - 2)
            wanted = skip + out_boxes[:, axis + 3] - out_boxes[:, axis]
            inner *= -(-np.minimum(reached[:, axis] - 2, wanted) // self.tile)
            outer *= np.minimum(reached[:, axis], wanted) / self.tile
        few = 1 + _FEW_PRODUCTS / self.outputs
        products = _PRODUCT * few * self.channels * self.outputs + _TRANSFORM * self.channels
        return points * (inner * products + outer * _TRANSFORM * self.outputs)

    def _carried(self, boxes: np.ndarray) -> np.ndarray:
        """Return the elements that a thread keeps from one layer of tiles to the next."""
        tiles = -(-(bx.extents(boxes)[:, 1:] + 2) // self.tile)
        return tiles.prod(1) * 2 * (self.tile + 2) ** 2 * self.outputs
