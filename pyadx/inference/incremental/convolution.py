"""Convolution of patches: our own kernel on the CPU, the vendor's library elsewhere."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.conv_algorithms import ConvAlgorithms
from pyadx.inference.incremental.steps import (
    Batch,
    Maps,
    Patch,
    Step,
    Work,
    channels_first,
    channels_innermost,
    element_size,
    map_size,
)
from pyadx.ops import patches
from pyadx.ops.toom_cook import transformed_weight


class Convolution(Step):
    """A convolution with what follows it: batch norm (in the weights) and ReLU.

    Changes are linear up to the ReLU, so biases and the batch norm's shift play no part, and cells
    around the box count as zero, whatever they hold and whatever the network pads with.

    Parameters
    ----------
    output, source : fx.Node
        Result and input.
    weight : Tensor
        ``[K, C / groups, kd, kh, kw]``, scaled by the batch norm.
    window : Window
        Kernel, stride, dilation and the padding of the low side.
    groups : int
        As in ``torch.nn.Conv3d``.
    rectified : fx.Node, optional
        The ReLU's input, if there is a ReLU.
    """

    def __init__(
        self,
        output: fx.Node,
        source: fx.Node,
        weight: Tensor,
        window: bx.Window,
        groups: int = 1,
        rectified: fx.Node | None = None,
    ) -> None:
        super().__init__(output, [source], [] if rectified is None else [rectified])
        self.window, self.groups = window, groups
        self.own = weight.device.type == "cpu"
        self.weight = weight
        outputs, channels = weight.shape[:2]
        self.algorithms = ConvAlgorithms.of_layer(outputs, channels, window, groups) if self.own else None
        self._ready: dict[torch.dtype | str, Tensor] = {}

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Every output whose window meets a changed cell."""
        return bx.through_window(boxes[0], self.window, self.size)

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Frames of zeros and changes that the library convolves on other devices."""
        return [] if self.own else [bx.input_frames(out_boxes, self.window)]

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Every changed cell meets every tap once, apart from strides, or tiles take fewer products."""
        met = np.minimum(bx.cells(boxes[0]) / float(np.prod(self.window.stride)), float(np.prod(self.size)))
        products = met * self.weight.numel()
        if self.algorithms is not None:
            products = self.algorithms.multiply_adds(boxes[0], out_boxes, products)
        own = super().work(boxes, out_boxes)
        return Work(2.0 * products, own.bytes)

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the size of the frames that the library convolves, and of its results."""
        out, channels = slots[self.output], int(self.inputs[0].meta["val"].shape[1])
        library = prod(bx.frame_size(out, self.window)) * channels + prod(out) * self.channels
        return 0 if self.own else library

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Convolve one batch of patches."""
        before = maps[self.before[0]] if self.before else None
        return self._convolved(batch, inputs[0], before)

    def changes(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> dict[fx.Node, Patch | Tensor]:
        """Give what goes into the ReLU, too."""
        if not self.before:
            return super().changes(batch, inputs, maps)
        rectified = self._convolved(batch, inputs[0], None)
        out = batch.new(self.output, self.channels)
        patches.relu(rectified.data, rectified.boxes, maps[self.before[0]], None, out)
        return {self.before[0]: rectified, self.output: Patch(out, rectified.boxes)}

    def _convolved(self, batch: Batch, source: Patch, before: Tensor | None) -> Patch:
        """Convolve, with the ReLU if what it compares with is given."""
        out_boxes = batch.boxes[self.output]
        if self.algorithms is not None and batch.precision == source.data.dtype:
            out = batch.new(self.output, self.channels)
            patches.conv(
                source.data, source.boxes, self._packed(),
                self.window.stride, self.window.padding, self.window.dilation, out_boxes, before, out,
                *self._tiles(self.algorithms, source.boxes, out_boxes),
            )  # fmt: skip
            return Patch(out, out_boxes)
        result = self._library(batch, source)
        out = batch.new(self.output, self.channels)
        if before is None:  # the library also wrote what lies beyond the map
            patches.gather(out_boxes, out, map_size=self.size, patches=result, boxes=out_boxes)
        else:
            patches.relu(result, out_boxes, before, None, out)
        return Patch(out, out_boxes)

    def _tiles(
        self, algorithms: ConvAlgorithms, boxes: Tensor, out_boxes: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the weight at the points of tiles, and which patches are convolved with it."""
        tiled = algorithms.by_tiles(boxes.numpy(), out_boxes.numpy())
        if not tiled.any():
            return None, None
        if "tiles" not in self._ready:
            self._ready["tiles"] = transformed_weight(self.weight, algorithms.tile)
        return self._ready["tiles"], torch.from_numpy(tiled.astype(np.uint8))

    def _library(self, batch: Batch, source: Patch) -> Tensor:
        size = bx.frame_size(batch.slots[self.output], self.window)
        frames = batch.workspace.take(batch.size, *size, source.data.shape[-1])
        if self.own:  # in another precision
            seen = torch.from_numpy(bx.input_frames(batch.boxes[self.output].numpy(), self.window))
        else:
            seen = batch.tables[self.output][0]
        patches.gather(
            seen, frames,
            patches=source.data, boxes=source.boxes,
        )  # fmt: skip
        result = F.conv3d(
            channels_first(frames).to(batch.precision),
            self._weight(batch.precision),
            None,
            self.window.stride,
            0,
            self.window.dilation,
            self.groups,
        )
        batch.workspace.give(frames)
        return channels_innermost(result.to(source.data.dtype))

    def _packed(self) -> Tensor:
        """Return the weight as our own kernel wants it."""
        if "packed" not in self._ready:
            self._ready["packed"] = patches.pack_weight(self.weight, self.groups)
        return self._ready["packed"]

    def _weight(self, precision: torch.dtype) -> Tensor:
        """Return the weight channels-last in some precision."""
        if precision not in self._ready:
            layout = torch.channels_last_3d
            self._ready[precision] = self.weight.to(precision).contiguous(memory_format=layout)
        return self._ready[precision]


class FlattenedLinear(Convolution):
    """A linear layer on a flattened map: a convolution as large as the map, with one output."""

    local = False

    def __init__(self, output: fx.Node, source: fx.Node, weight: Tensor) -> None:
        kernel = weight.reshape(weight.shape[0], *source.meta["val"].shape[1:])
        window = bx.Window(map_size(source), (1, 1, 1), (0, 0, 0), (1, 1, 1))
        super().__init__(output, source, kernel, window)

    @property
    def size(self) -> bx.Triple:
        """One cell."""
        return (1, 1, 1)

    @property
    def channels(self) -> int:
        """Number of outputs."""
        return int(self.weight.shape[0])

    def run(  # type: ignore[override]
        self, batch: Batch, inputs: Sequence[Patch], maps: Maps
    ) -> Tensor:
        """Return the change of the outputs, ``[B, K]``."""
        if self.own:
            cells = super().run(batch, inputs, maps).data
            change = cells.reshape(batch.size, -1).clone()
            batch.workspace.give(cells)
            return change
        source = inputs[0]
        zeros = source.data.new_zeros((*self.window.kernel, source.data.shape[-1]))
        full = source.data.new_empty((batch.size, *zeros.shape))
        patches.scatter(source.data, source.boxes, zeros, full)
        rows = channels_innermost(self.weight).flatten(1)
        return F.linear(full.flatten(1), rows)


class Linear(Step):
    """A linear layer on changes ``[B, F]``."""

    local = False
    boxed = False

    def __init__(self, output: fx.Node, source: fx.Node, weight: Tensor) -> None:
        super().__init__(output, [source])
        self.weight = weight
        self.packed = None
        if weight.device.type == "cpu":
            self.packed = patches.pack_weight(weight[:, :, None, None, None])

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """One pass over the weights' products."""
        return Work(2.0 * self.weight.numel(), self.weight.shape[0] * element_size(self.output))

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """On the CPU as a patch of one cell, so that batches of any size sum in the same order."""
        change = inputs[0]
        if self.packed is None or change.dim() != 2:
            return F.linear(change, self.weight)
        boxes = torch.tensor([[0, 0, 0, 1, 1, 1]], dtype=torch.int32).expand(batch.size, 6).contiguous()
        out = change.new_empty(batch.size, 1, 1, 1, self.weight.shape[0])
        one, none = (1, 1, 1), (0, 0, 0)
        cell = change.reshape(batch.size, 1, 1, 1, -1).contiguous()
        patches.conv(cell, boxes, self.packed, one, none, one, boxes, None, out)
        return out.reshape(batch.size, -1)
