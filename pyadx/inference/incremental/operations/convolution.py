"""Convolution, by our own kernels or by the vendor's library."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.conv_algorithms import ConvAlgorithms, convolver
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.operations.batch_norm import BATCH_NORMS, normalised
from pyadx.inference.incremental.operations.relu import RELUS, pools
from pyadx.inference.incremental.steps import (
    Batch,
    Maps,
    Patch,
    Step,
    Work,
    channels_first,
    channels_innermost,
)
from pyadx.inference.incremental.trace import aten, functional, per_axis
from pyadx.ops import patches


class Convolution(Step):
    """A convolution, with a batch norm that follows (in its weights) and a ReLU after that.

    Changes pass linearly up to the ReLU. So biases and the shift of the batch norm drop out, and cells
    around the box count as zero, whatever they hold and whatever the network pads with.

    Parameters
    ----------
    output, source : fx.Node
        Result (of the last operation that is included), and input of the convolution.
    weight : Tensor
        ``[K, C / groups, kd, kh, kw]``, multiplied by the factors of the batch norm.
    window : Window
        Kernel, stride, dilation, and the padding of the low sides.
    groups : int
        As in ``torch.nn.Conv3d``.
    rectified : fx.Node, optional
        The input of the ReLU, if there is one.
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
        self.convolver = convolver(weight)
        self.weight = weight
        outputs, channels = weight.shape[:2]
        self.algorithms: ConvAlgorithms | None = None
        if self.convolver == "cpu":
            self.algorithms = ConvAlgorithms.of_layer(outputs, channels, window, groups)
        self.linear = rectified is None
        self._ready: dict[torch.dtype | str, Tensor] = {}

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of outputs whose window meets a changed cell."""
        return bx.through_window(boxes[0], self.window, self.size)

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Return the frames that the library convolves, and the work of tensor cores."""
        if self.convolver == "cpu":
            return []
        frames = bx.input_frames(out_boxes, self.window)
        return [frames, patches.conv_work(out_boxes)] if self.convolver == "tensor_cores" else [frames]

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Count a product per changed cell and tap, fewer with strides, or the cost by tiles."""
        met = np.minimum(bx.cells(boxes[0]) / float(np.prod(self.window.stride)), float(np.prod(self.size)))
        products = met * self.weight.numel()
        if self.algorithms is not None:
            products = self.algorithms.multiply_adds(boxes[0], out_boxes, products)
        own = super().work(boxes, out_boxes)
        return Work(2.0 * products, own.bytes)

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the elements of the frames that the library convolves, and of its results."""
        out, channels = slots[self.output], int(self.inputs[0].meta["val"].shape[1])
        library = prod(bx.frame_size(out, self.window)) * channels + prod(out) * self.channels
        return library if self.convolver == "library" else 0

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Convolve one batch of patches."""
        before = maps[self.before[0]] if self.before else None
        return self._convolved(batch, inputs[0], before)

    def changes(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> dict[fx.Node, Patch | Tensor]:
        """Compute the change of the ReLU's input, too."""
        if not self.before:
            return super().changes(batch, inputs, maps)
        rectified = self._convolved(batch, inputs[0], None)
        out = batch.new(self.output, self.channels)
        patches.relu(rectified.data, rectified.boxes, maps[self.before[0]], None, out)
        return {self.before[0]: rectified, self.output: Patch(out, rectified.boxes)}

    def _convolved(self, batch: Batch, source: Patch, before: Tensor | None) -> Patch:
        """Convolve, and apply the ReLU if its input in the unperturbed scan is given."""
        out_boxes = batch.boxes[self.output]
        if self.convolver != "library" and batch.precision == source.data.dtype:
            return Patch(self._own(batch, source, before), out_boxes)
        result = self._library(batch, source)
        out = batch.new(self.output, self.channels)
        if before is None:  # clear what the library wrote beyond the map
            patches.gather(out_boxes, out, map_size=self.size, patches=result, boxes=out_boxes)
        else:
            patches.relu(result, out_boxes, before, None, out)
        return Patch(out, out_boxes)

    def _own(self, batch: Batch, source: Patch, before: Tensor | None) -> Tensor:
        """Convolve with our own kernel."""
        out_boxes = batch.boxes[self.output]
        tiles: tuple[Tensor | None, Tensor | None] = (None, None)
        work = None
        if self.algorithms is not None:
            tiles = self._tiles(self.algorithms, source.boxes, out_boxes)
        if self.convolver == "tensor_cores":
            work = batch.tables[self.output][1]
        return patches.conv(
            source.data, source.boxes, self._packed(),
            self.window.stride, self.window.padding, self.window.dilation, out_boxes, before,
            batch.new(self.output, self.channels), *tiles, work,
        )  # fmt: skip

    def _tiles(
        self, algorithms: ConvAlgorithms, boxes: Tensor, out_boxes: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the transformed weight, and which patches are convolved with it; None if none are."""
        tiled = algorithms.by_tiles(boxes.numpy(), out_boxes.numpy())
        if not tiled.any():
            return None, None
        if "tiles" not in self._ready:
            transformed = algorithms.transformed(self.weight)
            if transformed is None:
                return None, None
            self._ready["tiles"] = transformed
        return self._ready["tiles"], torch.from_numpy(tiled.astype(np.uint8))

    def _library(self, batch: Batch, source: Patch) -> Tensor:
        """Convolve frames of zeros and changes with the vendor's library."""
        size = bx.frame_size(batch.slots[self.output], self.window)
        frames = batch.workspace.take(batch.size, *size, source.data.shape[-1])
        if self.convolver == "cpu":  # in another precision
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
        """Return the weight in the layout of our own kernel."""
        if "packed" not in self._ready:
            own = self.convolver == "tensor_cores"
            pack = patches.pack_cuda_weight if own else patches.pack_weight
            self._ready["packed"] = pack(self.weight, self.groups)
        return self._ready["packed"]

    def _weight(self, precision: torch.dtype) -> Tensor:
        """Return the weight channels-last in this dtype."""
        if precision not in self._ready:
            layout = torch.channels_last_3d
            self._ready[precision] = self.weight.to(precision).contiguous(memory_format=layout)
        return self._ready[precision]


def convolution(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a convolution with constant weights, with the batch norm and the ReLU that follow it."""
    weight = low.constant(node.args[1])
    arguments = dict(zip(("stride", "padding", "dilation", "groups"), node.args[3:7], strict=False))
    stride, dilation = per_axis(arguments.get("stride", 1)), per_axis(arguments.get("dilation", 1))
    padding: Any = arguments.get("padding", 0)
    if weight is None or weight.dim() != 5 or node.args[0] not in low.changing:
        return None
    if isinstance(padding, str):
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = [r // 2 if padding == "same" else 0 for r in reach]
    groups: Any = arguments.get("groups", 1)
    last, covered = node, []
    follower = low.only_user(node)
    if follower is not None and functional(follower.target) in BATCH_NORMS:
        found = normalised(low, follower)
        if found is not None:
            last, scale = found
            weight = weight * scale[:, None, None, None, None]
            covered = [follower, last]
            follower = low.only_user(last)
    rectified = None
    if follower is not None and functional(follower.target) in RELUS and not pools(low, follower):
        rectified, last = last, follower
        covered.append(follower)
    window = bx.Window(per_axis(weight.shape[2:]), stride, per_axis(padding), dilation)
    return Match(Convolution(last, source, weight, window, groups, rectified), covers=covered)


MAP_RULES: Rules = dict.fromkeys((aten.conv3d.default, aten.conv3d.padding), convolution)
