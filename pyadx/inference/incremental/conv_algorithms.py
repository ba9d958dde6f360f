"""Who convolves patches, our own kernels or the vendor's library, and by which algorithm on the CPU.

The CPU has our kernel: taps one by one, Toom-Cook tiles, or split products. On CUDA it is the library,
unless ``PYADX_CUDA_CONV=own`` asks for our tensor-core kernel; ``vendor`` is the default until a GPU has
shown that the other is faster (benchmarks/gpu.sh). Other devices have the library.

The choice looks at the layer and at the patch's own boxes only, so that a region's score depends on no
other region. Costs were measured (benchmarks/NOTES.md) and are in multiply-adds of large matrix products.
``PYADX_CONV`` in the environment asks for ``direct``, ``toom2``, ``toom4`` or ``amx`` wherever that can be
done.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.options import asked_for
from pyadx.ops import split, toom_cook

_FORCED = {"auto": None, "direct": 0, "toom2": 2, "toom4": 4, "amx": 0}

# Per changed cell, tap and pair of channels. After a ReLU some channels of a row do not change and are
# left out; rows of few channels are short, and vectors of few outputs partly empty.
_DIRECT, _FEW_CHANNELS, _FEW_OUTPUTS = 0.5, 20.0, 5.0
# Per point and pair of channels of a tile; per point and channel that is evaluated, or interpolated.
_PRODUCT, _FEW_PRODUCTS = 1.25, 8.0
_TRANSFORM = 14.0
_LEAST_CHANNELS = 32
_MOST_CARRIED = 1 << 20  # elements that a thread keeps from one layer of tiles to the next

_CUDA_MAKERS = ("vendor", "own")

Convolver = Literal["cpu", "tensor_cores", "library"]


def convolver(weight: Tensor) -> Convolver:
    """Return who convolves the patches of a layer.

    Parameters
    ----------
    weight : Tensor
        ``[K, C / groups, kd, kh, kw]``, on the device of the patches.

    Returns
    -------
    str
        ``cpu`` and ``tensor_cores`` are `pyadx.ops.patches.conv`, ``library`` is ``conv3d``. The kernel for
        tensor cores sums float64 tap by tap, which is why float64 stays with the library.

    Raises
    ------
    ValueError
        If ``PYADX_CUDA_CONV`` names none.
    """
    if weight.device.type == "cpu":
        return "cpu"
    if weight.device.type != "cuda":
        return "library"
    asked = asked_for("PYADX_CUDA_CONV", _CUDA_MAKERS)
    return "tensor_cores" if asked == "own" and weight.dtype == torch.float32 else "library"


@dataclass(frozen=True)
class ConvAlgorithms:
    """How a layer's patches may be convolved.

    Attributes
    ----------
    channels, outputs : int
        Of the layer.
    window : Window
        Its kernel, stride, padding and dilation.
    tile : int
        Cells per axis of the tiles that suit it, or zero where no tiles do.
    always : bool
        Whether tiles are taken wherever they can be.
    split : bool
        Whether float32 is convolved by products of bfloat16 (`pyadx.ops.split`), whatever the patch.
    """

    channels: int
    outputs: int
    window: bx.Window
    tile: int
    always: bool
    split: bool = False

    @classmethod
    def of_layer(cls, outputs: int, channels: int, window: bx.Window, groups: int) -> "ConvAlgorithms":
        """Return what suits a layer.

        Raises
        ------
        ValueError
            If ``PYADX_CONV`` names no algorithm.
        """
        asked = asked_for("PYADX_CONV", tuple(_FORCED))
        forced = _FORCED[asked]
        one = (1, 1, 1)
        shape = (tuple(window.kernel), tuple(window.stride), tuple(window.dilation), groups)
        fits = shape == ((3, 3, 3), one, one, 1)
        # `auto` never splits: how long AMX takes was measured nowhere. Once it is known, the choice belongs
        # here for the layer and into `by_tiles` for the patch, where `pyadx.ops.split.arithmetic` is "amx".
        if fits and asked == "amx":
            return cls(channels, outputs, window, 0, False, split=True)
        if not fits or forced == 0:
            return cls(channels, outputs, window, 0, False)
        if forced is None and min(channels, outputs) < _LEAST_CHANNELS:
            return cls(channels, outputs, window, 0, False)
        return cls(channels, outputs, window, forced or min(toom_cook.TILES), forced is not None)

    def by_tiles(self, boxes: np.ndarray, out_boxes: np.ndarray) -> np.ndarray:
        """Return which patches are convolved by tiles or by split products, bool ``[B]``."""
        if self.split:
            return np.ones(len(boxes), bool)
        if not self.tile:
            return np.zeros(len(boxes), bool)
        fitting = self._carried(boxes) <= _MOST_CARRIED
        if self.always:
            return fitting
        return fitting & (self._tiled(boxes, out_boxes) < self._direct(boxes, out_boxes))

    def transformed(self, weight: Tensor) -> Tensor | None:
        """Return the weight as `by_tiles` needs it; None where it has to be convolved tap by tap."""
        if self.split:
            return split.split_weight(weight)
        return toom_cook.transformed_weight(weight, self.tile)

    def multiply_adds(self, boxes: np.ndarray, out_boxes: np.ndarray, direct: np.ndarray) -> np.ndarray:
        """Predict the cost of every patch, float64 ``[B]``, from what taps one by one would cost."""
        if not self.tile:
            return direct
        return np.where(self.by_tiles(boxes, out_boxes), self._tiled(boxes, out_boxes), direct)

    def _direct(self, boxes: np.ndarray, out_boxes: np.ndarray) -> np.ndarray:
        """Every changed cell meets every tap whose output is asked for."""
        met = np.ones(len(boxes))
        for axis in range(3):
            own = np.zeros(len(boxes))
            for tap in range(self.window.kernel[axis]):
                own += self._met(boxes, out_boxes, axis, tap)
            met *= own
        few = 1 + _FEW_CHANNELS / self.channels + _FEW_OUTPUTS / self.outputs
        return _DIRECT * few * met * self.channels * self.outputs

    def _met(self, boxes: np.ndarray, out_boxes: np.ndarray, axis: int, tap: int) -> np.ndarray:
        """Count the outputs along one axis that one tap gives a changed cell."""
        stride = self.window.stride[axis]
        start = tap * self.window.dilation[axis] - self.window.padding[axis]
        first = np.maximum(-((start - boxes[:, axis]) // stride), out_boxes[:, axis])
        last = np.minimum(-((start - boxes[:, axis + 3]) // stride), out_boxes[:, axis + 3])
        return np.maximum(last - first, 0)

    def _tiled(self, boxes: np.ndarray, out_boxes: np.ndarray) -> np.ndarray:
        """Products, and the transforms of what goes in and comes out."""
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
        tiles = -(-(bx.extents(boxes)[:, 1:] + 2) // self.tile)
        return tiles.prod(1) * 2 * (self.tile + 2) ** 2 * self.outputs
